// Functions whose results are all different constants, so that the compiled code shows where each one goes.
package main

type mixed struct {
	A int8
	B float64
	C [1]int16
	_ struct{}
}

type pair struct{ X, Y int }

//go:noinline
func small() (int, uint8, int32, bool) { return 1001, 102, 1003, true }

//go:noinline
func parts() (m mixed, f float32, s string) {
	m.A, m.B, m.C[0] = 101, 3, 1002
	return m, 4, "seven.."
}

//go:noinline
func arrays() (a [2]int32, n int, b [3]int64) {
	a[0], a[1] = 1001, 1002
	b[0], b[1], b[2] = 1004, 1005, 1006
	return a, 1003, b
}

//go:noinline
func behindArguments(x [3]int64, y uint8) (a [2]int64, n int) {
	a[0], a[1] = 1001, 1002
	return a, 1003
}

//go:noinline
func tooMany() (a, b, c, d, e, f, g, h int, p pair, i int) {
	return 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, pair{1009, 1010}, 1011
}

//go:noinline
func floats() (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p float64, q int) {
	return 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 1001
}

func main() {
	small()
	parts()
	arrays()
	behindArguments([3]int64{}, 1)
	tooMany()
	floats()
}
