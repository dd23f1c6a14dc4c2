package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// one is a case: requests that are sent over a connection of its own.
type one struct {
	name string
	request
	send func(c one, server string)
}

var cases = []one{
	simple("plain", request{what: "plain", query: "size=5"}),
	simple("implicit-200", request{what: "silent"}),
	simple("status-404", request{what: "status", query: "status=404"}),
	simple("status-503", request{what: "status", query: "status=503"}),
	simple("no-route", request{what: "nowhere"}),
	simple("head", request{method: "HEAD", what: "plain", query: "size=100"}),
	simple("post", request{method: "POST", what: "echo", body: "hello"}),
	simple("odd-method", request{method: "BREW", what: "plain"}),
	simple("early-hints", request{what: "hints"}),
	simple("flush", request{what: "flush", query: "size=10"}),
	simple("server-sent-events", request{what: "events"}),
	simple("trailers", request{what: "trailers"}),
	simple("panic", request{what: "panic"}),
	simple("panic-late", request{what: "panic-late"}),
	simple("panic-unsent", request{what: "panic-unsent"}),
	simple("panic-recovered", request{what: "panic-recovered"}),
	simple("abort", request{what: "abort"}),
	simple("goexit", request{what: "exit"}),
	simple("cancelled", request{what: "left", leave: 30 * time.Millisecond}),
	simple("cancelled-late", request{what: "left-late", leave: 30 * time.Millisecond}),
	simple("stack-grown", request{what: "grown"}),
	simple("authority", request{what: "plain", headers: http.Header{"Host": {"shop.test:8443"}}}),
	simple("long-path", request{what: "plain", rest: "/" + strings.Repeat("x", 8192)}),
	simple("traceparent", request{what: "plain", headers: http.Header{
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=1,b=2"},
	}}),
	simple("unsampled", request{what: "plain", headers: http.Header{
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00"},
	}}),
	simple("many-headers", request{what: "plain", headers: many(200, "")}),
	simple("many-headers-traceparent", request{
		what: "plain", headers: many(200, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203333-01"),
	}),
	{name: "streams", send: func(c one, server string) {
		client := dial(server)
		defer client.close()
		for i := 0; i < 5; i++ {
			client.exchange(request{name: c.name, what: "plain", query: fmt.Sprint("size=", i*10_000)})
		}
	}},
	{name: "connection-lost", send: func(c one, server string) {
		client := dial(server)
		lose := func() { client.net.Close() }
		client.exchange(request{name: c.name, what: "left", leave: 30 * time.Millisecond, left: lose})
	}},
	// Of use only where h2c is served by a handler.
	{name: "upgrade", send: func(c one, server string) { upgrade(c.name, server) }},
}

func simple(name string, r request) one {
	r.name = name
	return one{name, r, func(c one, server string) {
		client := dial(server)
		defer client.close()
		client.exchange(c.request)
	}}
}

// many are that many headers, and a traceparent among them.
func many(count int, traceparent string) http.Header {
	headers := http.Header{}
	for i := 0; i < count; i++ {
		// Names of all lengths.
		headers.Set(fmt.Sprintf("X-%s-%d", strings.Repeat("h", i%37), i), strings.Repeat("v", i%40))
	}
	if traceparent != "" {
		headers.Set("Traceparent", traceparent)
	}
	return headers
}
