package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

var cases = []struct {
	name string
	run  func(*connection)
}{
	// The first call fills the encoder's table, and its headers the buffer.
	{"call", func(to *connection) { to.must(context.Background(), "M") }},
	{"kept", func(to *connection) {
		for i := 0; i < 4; i++ {
			to.must(context.Background(), "M")
		}
	}},
	// Encoded they are as short as they get, and what they are encoded into is hardly longer.
	{"short", func(to *connection) {
		for i := 0; i < 4; i++ {
			to.must(context.Background(), "/s/M")
		}
	}},
	{"deadline", func(to *connection) {
		for i := 0; i < 4; i++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			to.must(ctx, "/s/M")
			cancel()
		}
	}},
	{"stream", func(to *connection) {
		for i := 0; i < 3; i++ {
			if err := to.stream(context.Background(), "M", i); err != nil {
				log.Fatal(err)
			}
		}
	}},
	{"metadata", func(to *connection) {
		for i := 0; i < 2; i++ {
			to.must(metadata.AppendToOutgoingContext(context.Background(), "some-name", "some value", "some-bin", "\x00\xff"), "M")
		}
	}},
	{"own", own("traceparent", ours)},
	{"own-empty", own("traceparent", "")},
	{"own-twice", own("traceparent", ours, "traceparent", ours)},
	{"own-state", own("tracestate", "some=thing")},
	{"many", many(40)},
	{"too-many", many(70)},
	{"alike", func(to *connection) {
		pairs := []string{}
		for i := 0; i < 30; i++ {
			pairs = append(pairs, fmt.Sprintf("traceparen%d", i%10), "value")
		}
		twice(to, metadata.AppendToOutgoingContext(context.Background(), pairs...))
	}},
	// More than a frame: the second time they are longer than the table, too.
	{"long", own("some-name", strings.Repeat("long ", 8000))},
	// Two calls of one method with one context, at once.
	{"together", func(to *connection) {
		to.must(context.Background(), "M")
		var both sync.WaitGroup
		both.Add(2)
		for i := 0; i < 2; i++ {
			go func() {
				defer both.Done()
				to.must(context.Background(), "M")
			}()
		}
		both.Wait()
	}},
	{"intercepted", with(grpc.WithUnaryInterceptor(func(
		ctx context.Context, method string, in, out interface{}, by *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		return invoke(context.WithValue(ctx, key{}, 1), method, in, out, by, options...)
	}))},
	{"unbuffered", with(grpc.WithWriteBufferSize(0))},
	{"small-buffer", with(grpc.WithWriteBufferSize(32))},
}

type key struct{}

func find(name string) func(*connection) {
	for _, c := range cases {
		if c.name == name {
			return c.run
		}
	}
	log.Fatalf("no case %q", name)
	return nil
}

// with is a case of a call, and two over a connection that is made so.
func with(option grpc.DialOption) func(*connection) {
	return func(to *connection) {
		to.must(context.Background(), "M")
		inner := dial(to.Target(), to.name, option)
		defer inner.Close()
		inner.must(context.Background(), "M")
		inner.must(context.Background(), "M")
	}
}

// own is a case of two calls with that metadata.
func own(pairs ...string) func(*connection) {
	return func(to *connection) { twice(to, metadata.AppendToOutgoingContext(context.Background(), pairs...)) }
}

func many(count int) func(*connection) {
	return func(to *connection) {
		pairs := []string{}
		for i := 0; i < count; i++ {
			pairs = append(pairs, fmt.Sprint("name-", i), "value")
		}
		twice(to, metadata.AppendToOutgoingContext(context.Background(), pairs...))
	}
}

func twice(to *connection, ctx context.Context) {
	to.must(ctx, "M")
	to.must(ctx, "M")
}
