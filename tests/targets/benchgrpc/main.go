// Benchgrpc serves and makes unary calls by gRPC, as it is or traced by hand with otelgrpc and the Go SDK, for the benchmark.
// It obeys lines on standard input, and says "done" after each:
//
//   - trace ENDPOINT: have what is served and called from now on traced.
//   - serve: says "grpc ADDRESS".
//   - call ADDRESS COUNT: one call after the other, over one connection for each address that stays open.
//   - finish: send the spans that wait.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	flag.String("truth", "", "what the programs of the kit are started with; nothing is written here")
	flag.Parse()
	service := &service{clients: map[string]healthpb.HealthClient{}, finish: func() error { return nil }}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); fmt.Println("done") {
		if err := service.obey(lines.Text()); err != nil {
			log.Fatalf("%s: %v", lines.Text(), err)
		}
	}
}

type service struct {
	serverOptions []grpc.ServerOption
	clientOptions []grpc.DialOption
	clients       map[string]healthpb.HealthClient
	finish        func() error
}

func (s *service) obey(line string) error {
	var verb, argument string
	var count int
	// What is not given stays empty.
	fmt.Sscan(line, &verb, &argument, &count)
	switch verb {
	case "trace":
		return s.trace(argument)
	case "serve":
		return s.serve()
	case "call":
		return s.call(argument, count)
	case "finish":
		return s.finish()
	}
	return fmt.Errorf("nothing is known of it")
}

func (s *service) serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(s.serverOptions...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Printf("grpc %s\n", listener.Addr())
	return nil
}

// atOnce is how many calls are under way: who calls one after the other measures how processors wake.
const atOnce = 16

func (s *service) call(address string, count int) error {
	client := s.clients[address]
	if client == nil {
		options := append(s.clientOptions, grpc.WithTransportCredentials(insecure.NewCredentials()))
		connection, err := grpc.NewClient(address, options...)
		if err != nil {
			return err
		}
		client = healthpb.NewHealthClient(connection)
		s.clients[address] = client
	}
	failed := make(chan error, atOnce)
	for caller := range atOnce {
		go func() {
			for call := caller; call < count; call += atOnce {
				if _, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var first error
	for range atOnce {
		if err := <-failed; first == nil {
			first = err
		}
	}
	return first
}
