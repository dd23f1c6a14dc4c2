package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/emptypb"

	"lightfoot.example/garbage"
)

var errRefused = errors.New("refused")

func refuseCall(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
	return errRefused
}

func refuseStream(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errRefused
}

// refused are calls that a client refuses at once, each with something hostile: nobody looks at it but whoever watches.
func refused(connection *grpc.ClientConn) (all []garbage.Case) {
	add := func(name string, ctx context.Context, method string) {
		all = append(all,
			garbage.Case{Kind: "client", Name: "unary-" + name, Run: func() {
				garbage.Survive(func() { connection.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}) })
			}},
			garbage.Case{Kind: "client", Name: "stream-" + name, Run: func() {
				garbage.Survive(func() { connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method) })
			}})
	}
	for _, text := range garbage.Texts() {
		add("method-"+text.Name, &garbage.Ring{Context: context.Background()}, text.Text)
	}
	for _, one := range garbage.Contexts() {
		add("context-"+one.Name, one.Context, "/hostile/Call")
	}
	return all
}

// How many calls have reached the server.
var arrived atomic.Int64

func tapped(ctx context.Context, _ *tap.Info) (context.Context, error) {
	arrived.Add(1)
	return ctx, nil
}

// exchanged are calls that are made and served, with names and statuses that would steer a terminal.
func exchanged(connection *grpc.ClientConn) (all []garbage.Case) {
	add := func(name, method, said string) {
		all = append(all, garbage.Case{Kind: "both", Name: name, Run: func() {
			ctx := metadata.AppendToOutgoingContext(context.Background(), "say-bin", said)
			before := arrived.Load()
			err := connection.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
			if arrived.Load() != before+1 {
				panic(fmt.Sprintf("%s did not arrive: %v", name, err))
			}
		}})
	}
	for name, method := range map[string]string{
		"method":  "/hostile/" + garbage.NastyHeader,
		"service": "/" + garbage.NastyHeader + "/Call",
		"slashes": strings.Repeat("/", 300),
		"long":    "/" + strings.Repeat(garbage.NastyHeader, 500) + "/Call",
		"short":   "/",
		"request": "/GET /x HTTP/1.1",
	} {
		add("named-"+name, method, "no")
	}
	for name, said := range map[string]string{
		"nothing": "", "nasty": garbage.Nasty, "long": strings.Repeat(garbage.Nasty, 500), "giant": strings.Repeat("x", 1<<20),
	} {
		add("status-"+name, "/hostile/Call", said)
	}
	return all
}
