// Bench is the service that the benchmark compares ways to trace on: as it is, or traced by hand with otelhttp and the Go
// SDK. With a backend it calls that for each request. On standard output it says "listening ADDRESS", and once it has been
// told to end on SIGTERM nothing more: spans that wait are sent first.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port; port 0 picks a free one")
	backend := flag.String("backend", "", "the URL to call for each request")
	otelhttp := flag.Bool("otelhttp", false, "trace, as OTEL_EXPORTER_OTLP_ENDPOINT and its like say")
	flag.Parse()

	var handler http.Handler = routes(*backend)
	finish := func() {}
	// The usual limit of two idle connections would have most calls open one.
	transport := http.DefaultTransport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 64
	if *otelhttp {
		handler, finish = traced(handler)
	}

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { log.Fatal(server.Serve(listener)) }()

	end, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-end.Done()
	finish()
	os.Exit(0)
}

func routes(backend string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%q,"name":"an item"}`, r.PathValue("id"))
	})
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := call(r.Context(), backend+"/items/"+r.PathValue("id"), w); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return mux
}

// call passes on what a backend answers.
func call(ctx context.Context, url string, w http.ResponseWriter) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(w, response.Body)
	return err
}

var client = &http.Client{}
