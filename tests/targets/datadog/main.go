// Datadog is traced by dd-trace-go: requests and calls that it serves, and those that it makes. On standard output it says
// "listening ADDRESS". Its spans go nowhere, unless an agent of Datadog listens.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	grpctrace "github.com/DataDog/dd-trace-go/contrib/google.golang.org/grpc/v2"
	httptrace "github.com/DataDog/dd-trace-go/contrib/net/http/v2"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	if err := tracer.Start(tracer.WithLogStartup(false)); err != nil {
		log.Fatal(err)
	}
	defer tracer.Stop()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	own := "http://" + listener.Addr().String()
	client := httptrace.WrapClient(&http.Client{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), "GET", own+"/items/"+r.PathValue("id"), nil)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		answer.Body.Close()
	})

	// A gRPC server without services, and a client that never connects: they are linked.
	calls := grpc.NewServer(grpc.UnaryInterceptor(grpctrace.UnaryServerInterceptor()))
	if len(os.Args) > 1 {
		connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(grpctrace.UnaryClientInterceptor()))
		if err != nil {
			log.Fatal(err)
		}
		connection.Connect()
		go func() { log.Fatal(calls.Serve(listener)) }()
	}
	fmt.Printf("listening %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, httptrace.WrapHandler(mux, "datadog", "")))
}
