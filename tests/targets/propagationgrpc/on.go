package main

import (
	"context"
	"log"
	"net/url"
	"strings"

	"google.golang.org/grpc/metadata"
)

// handOn makes two calls on behalf of the one with this context, the second over a connection that has been used. With own
// they have a tracestate of their own.
func handOn(ctx context.Context, address string, own []string) {
	for _, value := range own {
		ctx = metadata.AppendToOutgoingContext(ctx, "tracestate", value)
	}
	to := dial(address, "on")
	defer to.Close()
	to.must(ctx, "M")
	to.must(ctx, "M")
}

// ask makes a call with this metadata.
func ask(address string, pairs []string) {
	ctx := context.Background()
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			log.Fatal(err)
		}
		if name != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	to := dial(address, "ask")
	defer to.Close()
	to.must(ctx, "M")
}
