// Hostile serves and calls by net/http and is, wherever a tracer looks, what no program should be: strings of a length that no
// memory has, pointers into nothing, maps of garbage, contexts that lead into themselves, names that would steer a terminal.
//
// It calls the functions of net/http that tracers watch by their addresses, with arguments of its own making, so that nothing else
// of net/http comes across these before. What then crashes is recovered from. Commands: "list" prints the cases, "run FROM TO" runs
// those from one to before another.
package main

import (
	"net"
	"net/http"

	"lightfoot.example/garbage"
)

func main() {
	garbage.Tolerate()
	// What makes it a server for whoever asks.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	genuine := make(chan http.ResponseWriter, 1)
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { genuine <- w })
	go http.Serve(listener, served)
	if _, err := http.Get("http://" + listener.Addr().String()); err != nil {
		panic(err)
	}
	garbage.Obey(append(requests(find(<-genuine)), calls()...))
}
