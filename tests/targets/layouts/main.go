// Command layouts holds structs that are hard to describe; the tests compare their type descriptors with DWARF.
//
// Every type has a variable, which is what makes the compiler describe it in DWARF, and is kept through an interface, which
// is what keeps its type descriptor.
package main

import (
	"context"
	"fmt"
	"time"
)

// ZeroSizeLast ends in a zero-size field: the compiler pads it, lest its address be the next object's.
type ZeroSizeLast struct {
	Count uint32
	Mark  struct{}
}

// ZeroSizeMiddle has zero-size fields that share offsets with what follows.
type ZeroSizeMiddle struct {
	First  struct{}
	Number uint64
	None   [0]uint64
	Last   uint16
}

// Arrays holds arrays of every kind of element.
type Arrays struct {
	Bytes   [3]byte
	Words   [2][3]uint64
	Structs [2]ZeroSizeLast
	Errors  [1]error
	Empty   [0]func()
}

// Blank has fields that cannot be named and names that are not ASCII.
type Blank struct {
	_      uint8
	Größe  uint32
	_      [5]byte
	日本     string
	Tagged bool `json:"tagged" note:"a tag changes the encoded name"`
}

// Pair is generic; its instances' names carry their arguments.
type Pair[A, B any] struct {
	First  A
	Second B
	Next   *Pair[A, B]
}

// Tree embeds an instance of a generic type.
type Tree[T any] struct {
	Pair[T, []T]
	Children []*Tree[T]
}

// Everything has one field of each kind.
type Everything struct {
	Bool       bool
	Int8       int8
	Complex    complex128
	Slice      []Arrays
	Map        map[string]*Everything
	Channel    chan<- ZeroSizeLast
	Function   func(context.Context) error
	Interface  interface{ Deadline() (time.Time, bool) }
	Any        any
	Pointer    **Everything
	String     string
	Uintptr    uintptr
	Anonymous  struct{ Inner, Outer int16 }
	unexported float32
}

var (
	zeroSizeLast   ZeroSizeLast
	zeroSizeMiddle ZeroSizeMiddle
	arrays         Arrays
	blank          Blank
	pair           Pair[int, string]
	pairOfLarge    Pair[context.Context, map[string]Arrays]
	tree           Tree[time.Duration]
	everything     Everything
	kept           []any
)

//go:noinline
func keep(value any) {
	kept = append(kept, value)
}

func main() {
	type local struct {
		Name  string
		inner struct{ Context context.Context }
	}
	keep(&local{Name: "of main"})
	other()
	for _, value := range []any{
		&zeroSizeLast, &zeroSizeMiddle, &arrays, &blank, &pair, &pairOfLarge, &tree, &everything,
	} {
		keep(value)
	}
	contexts()
	for _, value := range kept {
		fmt.Printf("%T\n", value)
	}
}

//go:noinline
func other() {
	// The same name as main's local type, and another layout.
	type local struct {
		Flag bool
		Size [4]uint32
	}
	keep(&local{})
}
