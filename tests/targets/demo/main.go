// Demo is one program in three parts for `make demo`: a shop, the stock that the shop asks, and customers.
//
// Neither service imports anything of OpenTelemetry. The customers send a traceparent, as a gateway would, and the shop
// passes it on to itself and to the stock, so that all spans of a request belong to one trace.
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
	stock := flag.String("stock", "", "URL of the stock; with it this is a shop, without it a stock")
	visit := flag.String("visit", "", "be customers of the shop at this URL instead")
	duration := flag.Duration("for", time.Minute, "how long customers come")
	flag.Parse()
	if *visit != "" {
		customers(*visit, time.Now().Add(*duration))
		return
	}
	routes := http.NewServeMux()
	if *stock != "" {
		routes.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) { product(w, r, *stock) })
		routes.HandleFunc("GET /prices/{id}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "5 EUR") })
		routes.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) })
	} else {
		routes.HandleFunc("GET /items/{id}", item)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes))
}

// product asks the stock, and the shop itself for the price.
func product(w http.ResponseWriter, r *http.Request, stock string) {
	own := "http://" + r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	for _, url := range []string{stock + "/items/", own + "/prices/"} {
		answer, err := ask(r, url+r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			w.WriteHeader(answer.StatusCode)
		}
		io.Copy(w, answer.Body)
	}
}

// ask makes a request on behalf of another one, whose traceparent it passes on.
func ask(behalf *http.Request, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(behalf.Context(), "GET", url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Traceparent", behalf.Header.Get("Traceparent"))
	return http.DefaultClient.Do(request)
}

func item(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(rand.Intn(5)) * time.Millisecond)
	switch r.PathValue("id") {
	case "7":
		http.Error(w, "the shelf fell down", http.StatusInternalServerError)
	case "9":
		http.NotFound(w, r)
	default:
		fmt.Fprintln(w, "in stock")
	}
}

func customers(shop string, until time.Time) {
	for number := 0; time.Now().Before(until); number++ {
		method, path := "GET", fmt.Sprintf("/products/%d", number%10)
		if number%5 == 4 {
			method, path = "POST", "/orders"
		}
		request, err := http.NewRequest(method, shop+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("Traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64()|1, rand.Uint64()|1))
		if answer, err := http.DefaultClient.Do(request); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		time.Sleep(400 * time.Millisecond)
	}
}
