package main

import (
	"log"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// handOn sends two requests over one connection to what the query has as "address", by the client that it has as "client", on behalf of the one that came. With
// "own" they have a Tracestate of their own, with "fill" a header of so many bytes.
func handOn(w http.ResponseWriter, came *http.Request) {
	query := came.URL.Query()
	to := address(query.Get("client"), query.Get("address")) + "/handed-on"
	request, err := http.NewRequestWithContext(came.Context(), "GET", to, nil)
	if err != nil {
		log.Fatal(err)
	}
	if query.Has("own") {
		request.Header.Set("Tracestate", "own=1")
	}
	if fill, err := strconv.Atoi(query.Get("fill")); err == nil {
		request.Header.Set("X-Fill", strings.Repeat("x", fill))
	}
	client := client(query.Get("client"))
	defer client.CloseIdleConnections()
	for i := 0; i < 2; i++ {
		if err := answered(client.Do(request)); err != nil {
			log.Fatal(err)
		}
	}
}

// ask sends a request over HTTP/2 without encryption with these headers, whose values are as in a query.
func ask(at, path string, headers []string) {
	request, err := http.NewRequest("GET", "http://"+at+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, "=")
		if value, err = url.QueryUnescape(value); err != nil {
			log.Fatal(err)
		}
		if name != "" {
			request.Header.Add(name, value)
		}
	}
	client := client("x/net")
	defer client.CloseIdleConnections()
	if err := answered(client.Do(request)); err != nil {
		log.Fatal(err)
	}
}
