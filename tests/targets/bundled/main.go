// Command bundled serves HTTP/2 by net/http alone and writes down what really happened: one JSON object a line for each
// request that a handler got, to the file -truth.
//
// It prints "http1 URL", "tls URL", where Go knows HTTP/2 without encryption (since 1.24) "cleartext URL", then
// "ready", and serves until its standard input ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"lightfoot.example/streams"
	"lightfoot.example/witness"
)

func main() {
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	handler := streams.Handler(witness.Open(*path, false))
	start("http1", handler, (*httptest.Server).Start)
	start("tls", handler, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.StartTLS()
	})
	cleartext(handler)
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func start(name string, handler http.Handler, start func(*httptest.Server)) {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handlers panic on purpose
	start(server)
	fmt.Println(name, server.URL)
}
