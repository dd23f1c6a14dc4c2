// Demo is one program in four parts for `make demo`: a shop, which asks a stock by gRPC, which asks for prices by HTTP, and
// customers.
//
// No service imports anything of OpenTelemetry. With -pass-on the customers send a traceparent, as a gateway would, and services
// pass it on, so that all spans of a request belong to one trace. Without it nobody does: Lightfoot adds one to what they send, where
// the kernel permits that.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address and port; port 0 picks a free one")
	stockAt := flag.String("stock", "", "address of the stock; with it this is a shop")
	prices := flag.String("prices", "", "URL of the prices; with it this is a stock; without either, it has prices")
	visit := flag.String("visit", "", "be customers of the shop at this URL instead")
	duration := flag.Duration("for", time.Minute, "how long customers come")
	passesOn := flag.Bool("pass-on", false, "send a traceparent, or the one of the request that is served")
	flag.Parse()
	if *visit != "" {
		customers(*visit, time.Now().Add(*duration), *passesOn)
		return
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if *prices != "" {
		fmt.Println(listener.Addr())
		log.Fatal(serveStock(listener, &stock{*prices, *passesOn}))
	}
	routes := http.NewServeMux()
	if *stockAt != "" {
		client := dialStock(*stockAt)
		routes.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) { product(w, r, client, *passesOn) })
		routes.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) })
	} else {
		routes.HandleFunc("GET /prices/{id}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "5 EUR") })
	}
	fmt.Printf("http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes))
}

func customers(shop string, until time.Time, haveParents bool) {
	for number := 0; time.Now().Before(until); number++ {
		method, path := "GET", fmt.Sprintf("/products/%d", number%10)
		if number%5 == 4 {
			method, path = "POST", "/orders"
		}
		request, err := http.NewRequest(method, shop+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		if haveParents {
			request.Header.Set("Traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64()|1, rand.Uint64()|1))
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		time.Sleep(400 * time.Millisecond)
	}
}
