// Command cgo calls C and serves HTTP, so its binary holds C start code beside Go's text.
package main

/*
#include <stdint.h>

static uint32_t rotate(uint32_t word) { return (word << 7) | (word >> 25); }
*/
import "C"

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to serve HTTP")
	once := flag.Bool("once", false, "serve one request to itself, then exit")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/rotate", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, uint32(C.rotate(C.uint32_t(len(r.URL.RawQuery)))))
	})
	fmt.Printf("http %s\n", listener.Addr())
	if !*once {
		log.Fatal(http.Serve(listener, nil))
	}
	go http.Serve(listener, nil)
	response, err := http.Get("http://" + listener.Addr().String() + "/rotate?word")
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	fmt.Println(response.Status)
}
