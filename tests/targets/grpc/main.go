// Command grpc serves the gRPC health service and can call itself: unary calls, streams and calls that fail.
//
// It prints one line "grpc ADDRESS" once it listens and runs until SIGTERM or SIGINT. With -calls it makes that many
// calls of each kind to itself and exits.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to serve gRPC")
	calls := flag.Int("calls", 0, "make this many calls of each kind to itself, then exit (0: serve until a signal)")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	service := health.NewServer()
	service.SetServingStatus("known", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, service)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("grpc %s\n", listener.Addr())
	if *calls > 0 {
		if err := call(listener.Addr().String(), *calls); err != nil {
			log.Fatal(err)
		}
	} else {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		select {
		case err := <-failed:
			log.Fatal(err)
		case <-stop:
		}
	}
	server.Stop()
}

// call makes calls that succeed, that fail with NotFound, and streams that the client ends.
func call(address string, calls int) error {
	// grpc.NewClient is newer than the oldest grpc-go that is built here.
	connection, err := grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := healthpb.NewHealthClient(connection)
	for i := 0; i < calls; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		ctx = metadata.AppendToOutgoingContext(ctx, "x-number", fmt.Sprint(i))
		err := one(ctx, client)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func one(ctx context.Context, client healthpb.HealthClient) error {
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "known"}); err != nil {
		return err
	}
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "unknown"})
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("unknown service: %v", err)
	}
	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "known"})
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
