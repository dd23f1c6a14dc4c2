package witness

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

// Serve is the whole of a program that serves HTTP/1 until SIGTERM and writes the truth about it to the file -truth. It
// prints what the program truth does; with -unix it serves on that socket too.
func Serve(handler http.Handler) {
	address := flag.String("address", "127.0.0.1:0", "where to serve")
	unix := flag.String("unix", "", "a unix socket to serve on as well")
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	server := &http.Server{
		Handler:  Handler(Open(*path, false), handler),
		ErrorLog: log.New(io.Discard, "", 0), // handlers panic on purpose
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	for network, address := range map[string]string{"tcp": *address, "unix": *unix} {
		if address == "" {
			continue
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			log.Fatal(err)
		}
		go server.Serve(listener)
		if network == "tcp" {
			fmt.Printf("listening %s\nother %s\nipv6 none\n", listener.Addr(), listener.Addr())
		}
	}
	<-signals
	server.Close()
}

// Route notes the route of a request, told by the router that found it. Routers wrap the ResponseWriter.
func Route(w http.ResponseWriter, route string) {
	for {
		switch wrapper := w.(type) {
		case *Recorder:
			wrapper.Truth.Route, wrapper.Truth.OriginalRoute = route, route
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = wrapper.Unwrap()
		default:
			log.Fatalf("there is no Recorder in %T", w)
		}
	}
}
