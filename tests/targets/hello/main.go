// Hello is the smallest service that Lightfoot traces in full: an HTTP server with one route.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port; port 0 picks a free one")
	flag.Parse()

	routes := http.NewServeMux()
	routes.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!\n", r.PathValue("name"))
	})

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/hello/world\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes))
}
