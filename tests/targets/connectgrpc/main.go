// Command connectgrpc calls a server of connect by gRPC and gRPC-Web.
//
// It obeys "run CASE URL", which makes a call. CASE is "PROTOCOL", "PROTOCOL-error" or "PROTOCOL-stream", and PROTOCOL is grpc,
// grpc-web or connect.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"lightfoot.example/commands"
)

type message = wrapperspb.StringValue

const service = "/shop.v1.Cart/"

func main() {
	truth := flag.String("truth", os.DevNull, "a file that stays empty, for the server tells what happens")
	flag.Parse()
	if err := os.WriteFile(*truth, nil, 0o600); err != nil {
		log.Fatal(err)
	}
	commands.Obey(func(words commands.Command) bool {
		if err := run(words[1], words[2]); err != nil {
			log.Fatal(words[1], ": ", err)
		}
		return words[0] == "run"
	})
}

func run(name, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	var protocol []connect.ClientOption
	switch {
	case strings.HasPrefix(name, "grpc-web"):
		transport.Protocols.SetUnencryptedHTTP2(false)
		transport.Protocols.SetHTTP1(true)
		protocol = []connect.ClientOption{connect.WithGRPCWeb()}
	case strings.HasPrefix(name, "grpc"):
		protocol = []connect.ClientOption{connect.WithGRPC()}
	}
	client := &http.Client{Transport: transport}
	if strings.HasSuffix(name, "-stream") {
		stream, err := connect.NewClient[message, message](client, url+service+"List", protocol...).
			CallServerStream(ctx, connect.NewRequest(&message{Value: "hello"}))
		if err != nil {
			return err
		}
		for stream.Receive() {
		}
		return stream.Close()
	}
	value := "hello"
	if strings.HasSuffix(name, "-error") {
		value = "not_found"
	}
	_, err := connect.NewClient[message, message](client, url+service+"Get", protocol...).
		CallUnary(ctx, connect.NewRequest(&message{Value: value}))
	if (err != nil) != strings.HasSuffix(name, "-error") {
		return fmt.Errorf("the call's error is %w", err)
	}
	return nil
}
