package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

// serve answers /WAY/ADDRESS with what a request to that address brings, which is sent on behalf of the one that came:
//
//	plain      by the goroutine that serves
//	goroutine  by another one, with the context
//	own        with a Tracestate of its own
//	full       with headers behind which the buffer has room for a traceparent, and not for much more
//
// and /none/ without any request. What came is read to its end before.
func serve() net.Addr {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(relay))
	return listener.Addr()
}

func relay(w http.ResponseWriter, came *http.Request) {
	words := strings.Split(came.URL.Path, "/")
	way, address := words[1], words[2]
	if _, err := io.Copy(io.Discard, came.Body); err != nil {
		log.Fatal(err)
	}
	if way == "none" {
		return
	}
	request, err := http.NewRequestWithContext(came.Context(), "GET", "http://"+address+"/"+way, nil)
	if err != nil {
		log.Fatal(err)
	}
	switch way {
	case "own":
		request.Header.Set("Tracestate", "own=1")
	case "full":
		request.Header.Set("X-Fill", strings.Repeat("x", 3600))
	}
	done := make(chan struct{})
	send := func() {
		defer close(done)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(w, response.Body)
		response.Body.Close()
	}
	if way == "goroutine" {
		go send()
	} else {
		send()
	}
	<-done
}
