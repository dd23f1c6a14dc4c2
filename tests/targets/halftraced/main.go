// Halftraced has what it serves by HTTP traced by otelhttp and the Go SDK, and nothing else: what it calls, and what it
// serves by gRPC, is a gap. On standard output it says "listening ADDRESS". GET /orders/ID calls /items/ID of its own, and the
// health service, once and for a stream; it answers with the ids of the SDK's span, "TRACE SPAN". Its spans go nowhere.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	otel.SetTracerProvider(sdk.NewTracerProvider())
	otel.SetTextMapPropagator(propagation.TraceContext{})

	calls := listen()
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { log.Fatal(server.Serve(calls)) }()
	connection, err := grpc.NewClient(calls.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}

	listener := listen()
	orders := orders{own: "http://" + listener.Addr().String(), health: healthpb.NewHealthClient(connection)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := orders.look(r.Context(), r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		span := trace.SpanContextFromContext(r.Context())
		fmt.Fprintf(w, "%s %s", span.TraceID(), span.SpanID())
	})
	fmt.Printf("listening %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, otelhttp.NewHandler(mux, "halftraced")))
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

type orders struct {
	own    string
	health healthpb.HealthClient
}

func (o orders) look(ctx context.Context, id string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.own+"/items/"+id, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if _, err := o.health.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		return err
	}
	// A stream that is left before it has ended, as the program's context is.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := o.health.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
