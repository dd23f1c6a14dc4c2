package main

import (
	"reflect"
	"syscall"
	"unsafe"

	"google.golang.org/grpc"

	"lightfoot.example/garbage"
)

// served are calls that the server has, each with something hostile. Streams are of the type of a genuine one.
func served(server *grpc.Server, genuine grpc.ServerTransportStream) (all []garbage.Case) {
	type transport struct{ itab, data unsafe.Pointer }
	// func (s *Server) handleStream(t transport.ServerTransport, stream *transport.ServerStream), and more before grpc-go 1.60
	handle := *(*func(*grpc.Server, transport, unsafe.Pointer, unsafe.Pointer))(
		garbage.Function("google.golang.org/grpc.(*Server).handleStream", (*grpc.Server).Serve))
	// func (t *http2Server) writeStatus(s *ServerStream, st *status.Status) error
	write := *(*func(server, stream, status unsafe.Pointer) error)(writeStatus())
	// What tells that a transport is an *http2Server.
	http2 := (*garbage.Iface)(garbage.Field(genuine, "st")).Itab
	// All that is taken for a stream may only be read, so nobody gets far.
	zeros := garbage.At(garbage.Zeros().Address)
	empty := stream(genuine, zeros, zeros)
	add := func(name string, connection transport, stream, status unsafe.Pointer) {
		all = append(all, garbage.Case{Kind: "server", Name: name, Run: func() {
			garbage.Survive(func() { handle(server, connection, stream, nil) })
			// A server writes it further down its stack than it handles the stream.
			garbage.Survive(func() { deeper(func() { write(connection.data, stream, status) }) })
		}})
	}
	last := garbage.Zeros()
	for _, block := range garbage.Blocks() {
		there := garbage.At(block.Address)
		if block.IsFilled {
			add("stream-"+block.Name, transport{itab: http2}, stream(genuine, there, garbage.At(last.Address)), nil)
			last = block
		} else {
			add("stream-"+block.Name, transport{itab: http2}, there, nil)
		}
		add("server-"+block.Name, transport{http2, there}, empty, nil)
		add("transport-"+block.Name, transport{there, there}, empty, nil)
		add("status-"+block.Name, transport{itab: http2}, empty, there)
	}
	return all
}

//go:noinline
func deeper(run func()) {
	defer func() {}()
	run()
}

// stream is garbage but for its method, at which handleStream looks first: what is no string ends it there.
func stream(genuine grpc.ServerTransportStream, of, inner unsafe.Pointer) unsafe.Pointer {
	kind := reflect.TypeOf(genuine).Elem()
	copied := func(block unsafe.Pointer) []byte {
		memory := garbage.Mapped(4 * garbage.Page)
		copy(memory, unsafe.Slice((*byte)(block), len(memory)))
		return memory
	}
	outer := copied(of)
	holder, base := outer, uintptr(0)
	// Since grpc-go 1.69 what both sides have is a struct of its own.
	if embedded, ok := kind.FieldByName("Stream"); ok {
		if embedded.Type.Kind() == reflect.Pointer {
			holder = copied(inner)
			*(*unsafe.Pointer)(unsafe.Pointer(&outer[embedded.Offset])) = unsafe.Pointer(&holder[0])
			kind = embedded.Type.Elem()
		} else {
			base, kind = embedded.Offset, embedded.Type
		}
	}
	method, ok := kind.FieldByName("method")
	if !ok {
		panic("a stream has no method")
	}
	*(*[2]uintptr)(unsafe.Pointer(&holder[base+method.Offset])) = [2]uintptr{garbage.Page, 24}
	for _, memory := range [][]byte{outer, holder} {
		garbage.Protect(memory, syscall.PROT_READ)
	}
	return unsafe.Pointer(&outer[0])
}

func writeStatus() unsafe.Pointer {
	// Lower case since grpc-go 1.69.
	for _, name := range []string{"writeStatus", "WriteStatus"} {
		function := garbage.Function("google.golang.org/grpc/internal/transport.(*http2Server)."+name, (*grpc.Server).Serve)
		if function != nil {
			return function
		}
	}
	panic("there is no writeStatus")
}
