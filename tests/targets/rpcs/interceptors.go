package rpcs

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"lightfoot.example/witness"
)

// What interceptors do that call others: the calls inside belong to the call, or to what is served.

// callInside makes a call inside of each call of a client.
func (s *scene) callInside(
	ctx context.Context, method string, in, out interface{}, cc *grpc.ClientConn, invoker grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	cause := Cause{Parent: number(method), Of: "called", Rule: byGoroutine}
	s.unary("client-interceptor-inside", s.plain, call{ctx: context.Background(), cause: cause})
	return invoker(ctx, method, in, out, cc, options...)
}

// callInsideStream makes a call before each stream of a client begins.
func (s *scene) callInsideStream(
	ctx context.Context, kind *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	cause := Cause{Parent: number(method), Of: "called", Rule: byGoroutine}
	s.unary("client-stream-interceptor-inside", s.plain, call{ctx: context.Background(), cause: cause})
	return streamer(ctx, kind, cc, method, options...)
}

// insisting calls once more if the first call fails, as middleware for retries does; the second one need not fail.
func insisting(
	ctx context.Context, method string, in, out interface{}, cc *grpc.ClientConn, invoker grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	err := invoker(ctx, method, in, out, cc, options...)
	if err == nil {
		return nil
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	md.Set("x-do", "answer")
	return invoker(metadata.NewOutgoingContext(ctx, md), method, in, out, cc, options...)
}

// getInside makes a call by HTTP inside of each call of a client, with its context, as those do that fetch a token.
func (s *scene) getInside(
	ctx context.Context, method string, in, out interface{}, cc *grpc.ClientConn, invoker grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	s.get(ctx, "interceptor", witness.Call{Parent: number(method), Rule: byGoroutine})
	return invoker(ctx, method, in, out, cc, options...)
}

// wrapping wraps streams, as instrumentation does.
func wrapping(
	ctx context.Context, kind *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, kind, cc, method, options...)
	if err != nil {
		return nil, err
	}
	return &wrapped{stream}, nil
}

type wrapped struct{ grpc.ClientStream }

func (w *wrapped) RecvMsg(message interface{}) error { return w.ClientStream.RecvMsg(message) }

// hiding wraps streams in a type that does not begin with the stream that it got.
func hiding(
	ctx context.Context, kind *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, kind, cc, method, options...)
	if err != nil {
		return nil, err
	}
	return &counting{0, stream}, nil
}

type counting struct {
	received int
	grpc.ClientStream
}

func (c *counting) RecvMsg(message interface{}) error {
	c.received++
	return c.ClientStream.RecvMsg(message)
}

// passing calls and does nothing else.
func passing(
	ctx context.Context, method string, in, out interface{}, cc *grpc.ClientConn, invoker grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	return invoker(ctx, method, in, out, cc, options...)
}

// unwilling never calls.
func unwilling(
	context.Context, string, interface{}, interface{}, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption,
) error {
	return errors.New("not today")
}

// callBefore makes calls before each call that a server serves.
func (s *scene) callBefore(
	ctx context.Context, request interface{}, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (interface{}, error) {
	if err := s.check(ctx, number(info.FullMethod)); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (s *scene) callBeforeStream(
	server interface{}, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	if err := s.check(stream.Context(), number(info.FullMethod)); err != nil {
		return err
	}
	return handler(server, stream)
}

// check calls by gRPC and by HTTP, as authorization and rate limits do.
func (s *scene) check(ctx context.Context, number int64) error {
	if err := s.relate(ctx, number, "rpc-context"); err != nil {
		return err
	}
	return s.relate(ctx, number, "http-context")
}
