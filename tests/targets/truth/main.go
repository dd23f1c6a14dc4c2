// Command truth is an HTTP/1 server that writes down what really happened: one JSON object a line for each request that
// a handler got, to the file -truth.
//
// It prints the address that it listens on and serves until SIGTERM. With -unix it serves on that socket too.
package main

import (
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
	address := flag.String("address", "127.0.0.1:0", "where to serve")
	unix := flag.String("unix", "", "a unix socket to serve on as well")
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	file, err := os.OpenFile(*path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0) // handlers panic on purpose
	server := &http.Server{Handler: witness(file, routes()), ErrorLog: quiet}
	serve := func(network, address string) net.Listener {
		listener, err := net.Listen(network, address)
		if err != nil {
			log.Fatal(err)
		}
		go server.Serve(listener)
		return listener
	}
	listener := serve("tcp", *address)
	if *unix != "" {
		serve("unix", *unix)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println(listener.Addr())
	<-stop
	server.Close()
}
