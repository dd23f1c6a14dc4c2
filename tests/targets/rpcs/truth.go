package rpcs

import (
	"context"
	"errors"
	"net"
	"reflect"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"lightfoot.example/witness"
)

// Called is what one call of a client was, retries included.
type Called struct {
	Kind   string `json:"kind"` // "called"
	Case   string `json:"case"`
	Number int64  `json:"number"`
	// Method is the full one, with its first slash if it has any.
	Method string `json:"method"`
	// Target is what the connection was dialled with.
	Target string `json:"target"`
	// Code and Message are those that the caller got.
	Code    uint32 `json:"code"`
	Message string `json:"message"`
	// Error is the type of an error that is no status, as package reflect names it.
	Error string `json:"error"`
	// Peer is the other end of the connection: ADDRESS:PORT, a path, or "" if there was none; nil if nobody asked.
	Peer *string `json:"peer"`
	// Messages are those of a stream, sent and received.
	Messages *[2]int64 `json:"messages"`
	Cause
	// Start and End enclose the call, in nanoseconds of CLOCK_BOOTTIME. End is 0 where nobody can tell.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Cause is what a call was made for.
type Cause struct {
	// Parent is the number of what must be the parent, 0 for a root; Of says whether that was "served" or "called", and
	// Rule why it is the parent: "context", "goroutine" or "parent_goroutine". The last may be missed.
	Parent int64  `json:"parent"`
	Of     string `json:"of"`
	Rule   string `json:"rule"`
}

// Handled is what one call was to the handler that served it.
type Handled struct {
	Kind   string `json:"kind"` // "handled"
	Case   string `json:"case"`
	Number int64  `json:"number"`
	Method string `json:"method"`
	// Code and Message are the status that the handler's error comes to, not necessarily the one that was sent.
	Code    uint32 `json:"code"`
	Message string `json:"message"`
	// Panicked includes runtime.Goexit.
	Panicked bool `json:"panicked"`
	// What came with the call.
	Authority   string          `json:"authority"`
	Peer        string          `json:"peer"`
	Messages    *[2]int64       `json:"messages"`
	Traceparent []string        `json:"traceparent"`
	Tracestate  []string        `json:"tracestate"`
	Remote      *witness.Parent `json:"remote"`
	// Start and End enclose the handler with its interceptors, in nanoseconds of CLOCK_BOOTTIME.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

func (c Called) begin() Called {
	c.Kind, c.Start = "called", witness.BootTime()
	return c
}

func (c Called) finish(err error) Called {
	c.End = witness.BootTime()
	result := status.Convert(err)
	c.Code, c.Message = uint32(result.Code()), result.Message()
	if _, isStatus := status.FromError(err); !isStatus {
		c.Error = reflect.TypeOf(err).String()
	}
	return c
}

// end is what spans can say of an address.
func end(address net.Addr) string {
	switch address.(type) {
	case *net.TCPAddr, *net.UnixAddr:
		return address.String()
	default:
		return ""
	}
}

// handling notes a call that a handler is about to serve.
func handling(ctx context.Context, method string) *Handled {
	t := &Handled{Kind: "handled", Start: witness.BootTime(), Method: method, Panicked: true}
	md, _ := metadata.FromIncomingContext(ctx)
	t.Number, t.Case = number(method), first(md["x-case"])
	t.Authority, t.Traceparent, t.Tracestate = first(md[":authority"]), all(md["traceparent"]), all(md["tracestate"])
	t.Remote = witness.ParseTraceparent(t.Traceparent)
	if from, found := peer.FromContext(ctx); found && from.Addr != nil {
		t.Peer = from.Addr.String()
	}
	return t
}

func (t *Handled) finish(err error) {
	result, isStatus := status.FromError(err)
	if !isStatus {
		switch {
		// What servers make of these; grpc-go did not before 1.53.
		case knowsContextErrors() && errors.Is(err, context.Canceled):
			result = status.New(codes.Canceled, err.Error())
		case knowsContextErrors() && errors.Is(err, context.DeadlineExceeded):
			result = status.New(codes.DeadlineExceeded, err.Error())
		default:
			result = status.New(codes.Unknown, err.Error())
		}
	}
	t.Code, t.Message, t.Panicked = uint32(result.Code()), result.Message(), false
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func all(values []string) []string { return append([]string{}, values...) }
