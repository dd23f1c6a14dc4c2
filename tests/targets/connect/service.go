package main

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type message = wrapperspb.StringValue

const service = "/shop.v1.Cart/"

// handler serves as generated code does: one pattern for a service, one handler for a method.
func handler() http.Handler {
	noting := connect.WithInterceptors(noting{})
	methods := map[string]http.Handler{
		"Get":  connect.NewUnaryHandler(service+"Get", get, noting, connect.WithIdempotency(connect.IdempotencyNoSideEffects)),
		"List": connect.NewServerStreamHandler(service+"List", list, noting),
		"Put":  connect.NewClientStreamHandler(service+"Put", put, noting),
		"Talk": connect.NewBidiStreamHandler(service+"Talk", talk, noting),
	}
	cart := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if method, ok := methods[strings.TrimPrefix(r.URL.Path, service)]; ok {
			method.ServeHTTP(w, r)
		} else {
			http.NotFound(w, r)
		}
	})
	mux := http.NewServeMux()
	mux.Handle(service, cart)
	mux.Handle("/api/", http.StripPrefix("/api", cart))
	mux.HandleFunc("/refusing"+service, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	mux.HandleFunc("/plain.v1.Items/Add", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("{}")) })
	return mux
}

// get answers what it is asked to: a code by its name, or a panic.
func get(_ context.Context, request *connect.Request[message]) (*connect.Response[message], error) {
	return connect.NewResponse(request.Msg), answer(request.Msg.Value)
}

func answer(asked string) error {
	if asked == "panic" {
		panic("asked to")
	}
	var code connect.Code
	if code.UnmarshalText([]byte(asked)) != nil {
		return nil
	}
	return connect.NewError(code, nil)
}

func list(_ context.Context, request *connect.Request[message], stream *connect.ServerStream[message]) error {
	for range 3 {
		if err := stream.Send(request.Msg); err != nil {
			return err
		}
	}
	return answer(request.Msg.Value)
}

func put(_ context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
	for stream.Receive() {
	}
	return connect.NewResponse(&message{}), stream.Err()
}

func talk(_ context.Context, stream *connect.BidiStream[message, message]) error {
	received, err := stream.Receive()
	if err != nil {
		return err
	}
	return stream.Send(received)
}

// noting notes what a server's method was asked and has answered.
type noting struct{}

func (noting) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		note("server", request.Spec().Procedure, request.Peer().Protocol, err)
		return response, err
	}
}

func (noting) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (noting) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		note("server", conn.Spec().Procedure, conn.Peer().Protocol, err)
		return err
	}
}
