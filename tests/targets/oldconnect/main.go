// Command oldconnect serves and calls by connect as it was called before: connect-go.
//
// It obeys "run", which makes a unary call.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/bufbuild/connect-go"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"lightfoot.example/commands"
)

type message = wrapperspb.StringValue

const procedure = "/shop.v1.Cart/Get"

func main() {
	truth := flag.String("truth", os.DevNull, "a file that stays empty, for nothing depends on what happens")
	flag.Parse()
	if err := os.WriteFile(*truth, nil, 0o600); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	http.Handle(procedure, connect.NewUnaryHandler(procedure, get))
	go func() { log.Fatal(http.Serve(listener, nil)) }()
	client := connect.NewClient[message, message](http.DefaultClient, "http://"+listener.Addr().String()+procedure)
	commands.Obey(func(words commands.Command) bool {
		if _, err := client.CallUnary(context.Background(), connect.NewRequest(&message{Value: "hello"})); err != nil {
			log.Fatal(err)
		}
		return words[0] == "run"
	})
}

func get(_ context.Context, request *connect.Request[message]) (*connect.Response[message], error) {
	return connect.NewResponse(request.Msg), nil
}
