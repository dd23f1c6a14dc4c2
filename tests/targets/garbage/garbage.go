// Package garbage has what programs hold that should not be: strings of a length that no memory has, pointers into nothing, structs of
// garbage, contexts that lead into themselves, names that would steer a terminal.
package garbage

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
	"unsafe"
)

// Page is the size of one.
const Page = 4096

// Nasty would steer a terminal, forge a line, and is no text.
const Nasty = "\x1b[2J\x1b]0;owned\x07\r\nforged  line=1\x00\x7f\u009b31m\u202e\u2066\u200f\u061c\ufeff\xff\xfe\xc3"

// NastyHeader is what HTTP/2 lets pass of it in the value of a header.
const NastyHeader = "\u009b31m\u202e\u2066\u200f\u061c\ufeff\xff\xfe\xc3"

// Where memory is asked for: so low that an address which is taken for a length is one that Go can allocate.
var next = uintptr(256 << 20)

// Mapped is memory of which Go's collector knows nothing, followed by a page that may not be touched.
func Mapped(size int) []byte {
	size = (size + Page - 1) / Page * Page
	protection, flags := syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE
	address, _, err := syscall.Syscall6(
		syscall.SYS_MMAP, next, uintptr(size+Page), uintptr(protection), uintptr(flags), ^uintptr(0), 0)
	if err != 0 {
		panic(err)
	}
	next = address + uintptr(size+Page)
	all := unsafe.Slice((*byte)(At(address)), size+Page)
	Protect(all[size:], syscall.PROT_NONE)
	return all[:size]
}

// Protect changes what may be done with it.
func Protect(memory []byte, protection int) {
	if err := syscall.Mprotect(memory, protection); err != nil {
		panic(err)
	}
}

func start(bytes []byte) uintptr { return uintptr(unsafe.Pointer(&bytes[0])) }

// At makes an address a pointer; vet need not see how.
func At(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// A Block is a named address: of a struct of garbage, or one that nobody should follow.
type Block struct {
	Name    string
	Address uintptr
	// Whether there is memory: four pages.
	IsFilled bool
}

func places() []Block {
	block := Mapped(Page)
	nothing := start(block) + Page
	return []Block{
		{"null", 0, false},
		{"low", 16, false},
		{"forbidden", nothing, false},
		{"kernel", 0xffff_ffff_8100_0000, false},
		{"vsyscall", 0xffff_ffff_ff60_0000, false},
		{"last", ^uintptr(0) - 7, false},
		{"not-canonical", 0x8000_0000_0000_0000, false},
		{"end-of-page", nothing - 8, false},
		{"misaligned", start(block) + 1, false},
	}
}

// TextAt makes a string of any address and length.
func TextAt(address uintptr, length int) (made string) {
	parts := (*[2]uintptr)(unsafe.Pointer(&made))
	parts[0], parts[1] = address, uintptr(length)
	return made
}

// A Text is a named string.
type Text struct {
	Name string
	Text string
}

var lengths = []int{1 << 62, -1, -1 << 63, 1 << 32, 300}

// Texts are strings that are hostile by what they are or by where they are.
func Texts() (all []Text) {
	for _, length := range lengths {
		all = append(all, Text{fmt.Sprintf("length-%d", length), TextAt(start(Mapped(Page)), length)})
	}
	for _, place := range places() {
		all = append(all, Text{place.Name, TextAt(place.Address, 24)})
	}
	giant := Mapped(64 << 20)
	return append(all,
		Text{"giant", TextAt(start(giant), 64<<20)},
		Text{"nasty", Nasty},
		Text{"long-nasty", strings.Repeat(Nasty, 100)},
	)
}

// Blocks are structs of garbage, for whatever may be taken for one.
func Blocks() (all []Block) {
	all = places()
	fill := func(name string, word func(start uintptr, index int) uint64) {
		bytes := Mapped(4 * Page)
		for index := 0; index < len(bytes)/8; index++ {
			binary.NativeEndian.PutUint64(bytes[8*index:], word(start(bytes), index))
		}
		Protect(bytes, syscall.PROT_READ)
		all = append(all, Block{name, start(bytes), true})
	}
	fill("zeros", func(uintptr, int) uint64 { return 0 })
	fill("ones", func(uintptr, int) uint64 { return ^uint64(0) })
	fill("sevens", func(uintptr, int) uint64 { return 0x0707_0707_0707_0707 })
	// Whatever is followed leads back, and names are as long as those that are looked for.
	fill("cyclic", func(start uintptr, index int) uint64 { return uint64(start) })
	fill("cyclic-names", func(start uintptr, index int) uint64 {
		return []uint64{uint64(start), 11, uint64(start), 10}[index%4]
	})
	fill("cyclic-lists", func(start uintptr, index int) uint64 {
		return []uint64{uint64(start), 11, 1 << 62, uint64(start), 1 << 62, 0x0101_0101_0101_0101}[index%6]
	})
	fill("kernel-words", func(uintptr, int) uint64 { return 0xffff_ffff_8100_0000 })
	for seed := int64(1); seed <= 12; seed++ {
		random := rand.New(rand.NewSource(seed))
		fill(fmt.Sprintf("random-%d", seed), func(start uintptr, _ int) uint64 {
			switch random.Intn(4) {
			case 0:
				return uint64(start) + uint64(random.Intn(4*Page))
			case 1:
				return uint64(random.Intn(16))
			case 2:
				return 0xffff_8000_0000_0000 | random.Uint64()
			default:
				return random.Uint64()
			}
		})
	}
	return all
}

// Zeros is a block of these, which may only be read.
func Zeros() Block { return Blocks()[len(places())] }
