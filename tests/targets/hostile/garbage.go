package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const page = 4096

// What would steer a terminal, forge a line, or is no text.
const nasty = "\x1b[2J\x1b]0;owned\x07\r\nforged  line=1\x00\x7f\u009b31m\u202e\u2066\u200f\u061c\ufeff\xff\xfe\xc3"

// mapped is memory of which Go's collector knows nothing, followed by a page that may not be touched.
func mapped(size int) []byte {
	size = (size + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	protect(all[size:], syscall.PROT_NONE)
	return all[:size]
}

func protect(memory []byte, protection int) {
	if err := syscall.Mprotect(memory, protection); err != nil {
		panic(err)
	}
}

func start(bytes []byte) uintptr { return uintptr(unsafe.Pointer(&bytes[0])) }

// at makes an address a pointer; vet need not see how.
func at(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// A place is an address that nobody should follow.
type place struct {
	name    string
	address uintptr
}

func places() []place {
	block := mapped(page)
	nothing := start(block) + page
	return []place{
		{"null", 0},
		{"low", 16},
		{"forbidden", nothing},
		{"kernel", 0xffff_ffff_8100_0000},
		{"vsyscall", 0xffff_ffff_ff60_0000},
		{"last", ^uintptr(0) - 7},
		{"not-canonical", 0x8000_0000_0000_0000},
		{"end-of-page", nothing - 8},
		{"misaligned", start(block) + 1},
	}
}

// text makes a string of any address and length.
func textAt(address uintptr, length int) (made string) {
	parts := (*[2]uintptr)(unsafe.Pointer(&made))
	parts[0], parts[1] = address, uintptr(length)
	return made
}

// A named string.
type named struct {
	name string
	text string
}

var lengths = []int{1 << 62, -1, -1 << 63, 1 << 32, 300}

// texts are strings that are hostile by what they are or by where they are.
func texts() (all []named) {
	for _, length := range lengths {
		all = append(all, named{fmt.Sprintf("length-%d", length), textAt(start(mapped(page)), length)})
	}
	for _, place := range places() {
		all = append(all, named{place.name, textAt(place.address, 24)})
	}
	giant := mapped(64 << 20)
	return append(all,
		named{"giant", textAt(start(giant), 64<<20)},
		named{"nasty", nasty},
		named{"long-nasty", strings.Repeat(nasty, 100)},
	)
}

// A named block of memory.
type block struct {
	name    string
	address uintptr
}

// blocks are structs of garbage, for whatever may be taken for one.
func blocks() (all []block) {
	for _, place := range places() {
		all = append(all, block{place.name, place.address})
	}
	fill := func(name string, word func(start uintptr, index int) uint64) {
		bytes := mapped(4 * page)
		for index := 0; index < len(bytes)/8; index++ {
			binary.NativeEndian.PutUint64(bytes[8*index:], word(start(bytes), index))
		}
		protect(bytes, syscall.PROT_READ)
		all = append(all, block{name, start(bytes)})
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
				return uint64(start) + uint64(random.Intn(4*page))
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

// A ring is a context that holds another, and lets nobody ask that: what is behind may be anything.
type ring struct{ context.Context }

func (*ring) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*ring) Done() <-chan struct{}       { return nil }
func (*ring) Err() error                  { return nil }
func (*ring) Value(any) any               { return nil }

// A namedContext is a context that leads nowhere good.
type namedContext struct {
	name    string
	context context.Context
}

func contexts() []namedContext {
	own := &ring{}
	own.Context = own
	first, second := &ring{}, &ring{}
	first.Context, second.Context = second, first
	long := context.Background()
	for depth := 0; depth < 10_000; depth++ {
		long = context.WithValue(long, depth, depth)
	}
	// One of the library's own that is its own parent: to ask it for anything would never end.
	endless := context.WithValue(context.Background(), 1, 1)
	*(*context.Context)(field(endless, "Context")) = endless
	all := []namedContext{
		{"own-parent", own},
		{"two-in-turn", first},
		{"chain", &ring{long}},
		{"endless", &ring{endless}},
	}
	var shown context.Context = own
	itab := (*iface)(unsafe.Pointer(&shown)).itab
	for _, block := range blocks() {
		var behind, data context.Context
		*(*iface)(unsafe.Pointer(&behind)) = iface{at(block.address), at(block.address)}
		*(*iface)(unsafe.Pointer(&data)) = iface{itab, at(block.address)}
		all = append(all,
			namedContext{"itab-" + block.name, &ring{behind}},
			namedContext{"data-" + block.name, &ring{data}},
		)
	}
	return all
}
