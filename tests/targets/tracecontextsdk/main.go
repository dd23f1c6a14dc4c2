// Command tracecontextsdk is what tracecontext is, traced by hand with otelhttp and the Go SDK, as their documentation has it.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"lightfoot.example/callbacks"
	"lightfoot.example/commands"
)

func main() {
	path := flag.String("truth", "", "a file that stays empty: the suite knows the truth")
	flag.Parse()
	if err := os.WriteFile(*path, nil, 0o644); err != nil {
		log.Fatal(err)
	}
	otel.SetTracerProvider(trace.NewTracerProvider())
	otel.SetTextMapPropagator(propagation.TraceContext{})
	client := &http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	commands.Obey(func(words commands.Command) bool {
		if words[0] != "serve" {
			return false
		}
		fmt.Println(callbacks.Serve(otelhttp.NewHandler(callbacks.Handler(client), "callbacks")))
		return true
	})
}
