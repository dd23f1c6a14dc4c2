package main

import (
	"context"
	"log"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/connectivity"
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
	to.settle()
	to.must(ctx, "M")
	to.must(ctx, "M")
}

// settle waits until the server has said how many headers it takes. A call may be made before that, for grpc-go has a connection ready before
// it looks at what the server says (http2Client.reader), and fails if it has more.
func (c *connection) settle() {
	for state := c.GetState(); state != connectivity.Ready; state = c.GetState() {
		c.WaitForStateChange(context.Background(), state)
	}
	time.Sleep(200 * time.Millisecond)
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
