package garbage

import (
	"context"
	"time"
	"unsafe"
)

// A Ring is a context that holds another, and lets nobody ask that: what is behind may be anything.
type Ring struct{ context.Context }

func (*Ring) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*Ring) Done() <-chan struct{}       { return nil }
func (*Ring) Err() error                  { return nil }
func (*Ring) Value(any) any               { return nil }

// A Context is a context that leads nowhere good.
type Context struct {
	Name    string
	Context context.Context
}

// Contexts are all there are.
func Contexts() []Context {
	own := &Ring{}
	own.Context = own
	first, second := &Ring{}, &Ring{}
	first.Context, second.Context = second, first
	long := context.Background()
	for depth := 0; depth < 10_000; depth++ {
		long = context.WithValue(long, depth, depth)
	}
	// One of the library's own that is its own parent: to ask it for anything would never end.
	endless := context.WithValue(context.Background(), 1, 1)
	*(*context.Context)(Field(endless, "Context")) = endless
	all := []Context{
		{"own-parent", own},
		{"two-in-turn", first},
		{"chain", &Ring{long}},
		{"endless", &Ring{endless}},
	}
	var shown context.Context = own
	itab := (*Iface)(unsafe.Pointer(&shown)).Itab
	for _, block := range Blocks() {
		var behind, data context.Context
		*(*Iface)(unsafe.Pointer(&behind)) = Iface{At(block.Address), At(block.Address)}
		*(*Iface)(unsafe.Pointer(&data)) = Iface{itab, At(block.Address)}
		all = append(all,
			Context{"itab-" + block.Name, &Ring{behind}},
			Context{"data-" + block.Name, &Ring{data}},
		)
	}
	return all
}
