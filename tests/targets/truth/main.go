// Command truth is an HTTP/1 server that writes down what really happened: one JSON object a line for each request that
// a handler got, to the file -truth.
//
// It says "listening ADDRESS", then "other ADDRESS", where a second http.Server serves the same, then "ipv6 ADDRESS" or
// "ipv6 none", and serves until SIGTERM. With -unix it serves on that socket too. On SIGUSR1 it sends itself a request
// over TLS.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"

	"lightfoot.example/witness"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to serve")
	unix := flag.String("unix", "", "a unix socket to serve on as well")
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	quiet := log.New(io.Discard, "", 0) // handlers panic on purpose
	handler := witness.Handler(witness.Open(*path, false), routes())
	server := &http.Server{Handler: handler, ErrorLog: quiet}
	other := &http.Server{Handler: handler, ErrorLog: quiet}
	encrypted := httptest.NewTLSServer(handler) // it speaks HTTP/1.1 unless told otherwise
	defer encrypted.Close()
	serve := func(server *http.Server, network, address string) net.Addr {
		listener, err := net.Listen(network, address)
		if err != nil {
			log.Fatal(err)
		}
		go server.Serve(listener)
		return listener.Addr()
	}
	if *unix != "" {
		serve(server, "unix", *unix)
	}
	fmt.Println("listening", serve(server, "tcp", *address))
	fmt.Println("other", serve(other, "tcp", *address))
	if listener, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		go server.Serve(listener)
		fmt.Println("ipv6", listener.Addr())
	} else {
		fmt.Println("ipv6 none")
	}
	for (<-signals) == syscall.SIGUSR1 {
		get(encrypted)
	}
	server.Close()
	other.Close()
}

func get(server *httptest.Server) {
	request, err := http.NewRequest(http.MethodGet, server.URL+"/plain/1?size=5", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("User-Agent", "row/tls")
	response, err := server.Client().Do(request)
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
}
