package rpcs

import (
	"context"
	"errors"
	"io"
	"log"
	"time"

	"google.golang.org/grpc"
	"lightfoot.example/commands"
)

// callElsewhere makes calls of the server of another process.
func callElsewhere(words commands.Command) {
	kind := words[3]
	remote := dial(words[1], dialled(kind)...)
	for i := 0; i < words.Number(2, 1); i++ {
		elsewhere[kind](remote)
	}
	remote.Close()
}

// dialled is what else a connection for such calls is dialled with.
func dialled(kind string) []grpc.DialOption {
	switch kind {
	case "intercepted":
		return []grpc.DialOption{grpc.WithChainUnaryInterceptor(passing, passing)}
	case "retried":
		return []grpc.DialOption{retries}
	default:
		return nil
	}
}

// elsewhere are the ways to call a server of another process, each a function of its own as callers are.
var elsewhere = map[string]func(*remote){
	"unary": func(to *remote) {
		if _, err := (&stub{to.ClientConn}).call(context.Background(), "/truth.Unary/N1", message("")); err != nil {
			log.Fatal(err)
		}
	},
	"direct": func(to *remote) {
		err := to.Invoke(context.Background(), "/truth.Unary/N1", message(""), message(""))
		if err != nil {
			log.Fatal(err)
		}
	},
	"error": func(to *remote) {
		(&stub{to.ClientConn}).call(context.Background(), "/truth.Unary/Unknown", message(""))
	},
	"intercepted": func(to *remote) {
		if _, err := (&stub{to.ClientConn}).call(context.Background(), "/truth.Unary/N1", message("")); err != nil {
			log.Fatal(err)
		}
	},
	"retried": func(to *remote) {
		ctx := call{do: "fail-twice"}.context("retried")
		if _, err := (&stub{to.ClientConn}).call(ctx, "/truth.Unary/N1", message("")); err != nil {
			log.Fatal(err)
		}
	},
	"deadline": func(to *remote) {
		ctx, cancel := context.WithTimeout(call{do: "wait"}.context("deadline"), 5*time.Millisecond)
		defer cancel()
		(&stub{to.ClientConn}).call(ctx, "/truth.Unary/N1", message(""))
	},
	"cancelled": func(to *remote) {
		ctx, cancel := context.WithCancel(call{do: "wait"}.context("cancelled"))
		time.AfterFunc(5*time.Millisecond, cancel)
		(&stub{to.ClientConn}).call(ctx, "/truth.Unary/N1", message(""))
	},
	"panic": func(to *remote) {
		(&stub{to.ClientConn}).call(call{do: "panic"}.context("panic"), "/truth.Unary/N1", message(""))
	},
	"stream": func(to *remote) {
		stream, err := (&stub{to.ClientConn}).open(context.Background(), serverStreams, "/truth.ServerStream/N1")
		if err != nil {
			log.Fatal(err)
		}
		stream.CloseSend()
		if _, err := stream.receive(); !errors.Is(err, io.EOF) {
			log.Fatal(err)
		}
	},
}
