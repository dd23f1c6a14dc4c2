// Command propagationhttp2 sends requests over HTTP/2 in all the ways that matter to whoever adds a header to them.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	serve LIMIT                     serves HTTP/2 without encryption, takes so many bytes of headers, and prints the address
//	relay ADDRESS                   accepts encrypted connections, hands on what comes to that address, and prints its own
//	seen                            prints what was served since the last time, a request a line: its path and its headers, sorted
//	list                            prints the cases, one a line
//	run CASE CLIENT ADDRESS         sends the requests of a case to the server at that address
//	ask ADDRESS PATH NAME=VALUE…    sends a request with these headers by x/net; values are as in a query
//	load COUNT WORKERS CLIENT ADDRESS sends COUNT requests, WORKERS at a time, and prints how many were not answered with 200
//
// and prints "done" after each. CLIENT is that of net/http, which speaks to a relay, or of x/net. The path of a request is /CASE. What
// comes to /on, over HTTP/1 too, is handed on (see on.go).
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"lightfoot.example/commands"
)

func main() {
	path := flag.String("truth", "", "a file that stays empty: the server knows the truth")
	flag.Parse()
	if err := os.WriteFile(*path, nil, 0o644); err != nil {
		log.Fatal(err)
	}
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "serve":
			fmt.Println(serve(words.Number(1, http.DefaultMaxHeaderBytes)))
		case "relay":
			fmt.Println(relay(words[1]))
		case "seen":
			for _, line := range seen.take() {
				fmt.Println(line)
			}
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "run":
			s := sender{name: words[1], url: address(words[2], words[3]), client: client(words[2])}
			find(words[1])(s)
			s.client.CloseIdleConnections()
		case "ask":
			ask(words[1], words[2], words[3:])
		case "load":
			fmt.Println(load(words.Number(1, 1), words.Number(2, 1), client(words[3]), address(words[3], words[4])))
		default:
			return false
		}
		return true
	})
}

// lines are what the server was asked.
type lines struct {
	sync.Mutex
	all []string
}

var seen lines

func (l *lines) add(line string) {
	l.Lock()
	defer l.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) take() (all []string) {
	l.Lock()
	defer l.Unlock()
	all, l.all = l.all, nil
	return all
}

func serve(limit int) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	handler := h2c.NewHandler(http.HandlerFunc(answer), &http2.Server{MaxConcurrentStreams: 1000})
	go (&http.Server{Handler: handler, MaxHeaderBytes: limit}).Serve(listener)
	return listener.Addr().String()
}

// both are two requests that are open at once.
var both = make(chan struct{})

func answer(w http.ResponseWriter, r *http.Request) {
	// The trailers come behind the body.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	var headers []string
	for name, values := range r.Header {
		for _, value := range values {
			headers = append(headers, strings.ToLower(name)+"="+value)
		}
	}
	for name := range r.Trailer {
		headers = append(headers, "trailer:"+strings.ToLower(name)+"="+r.Trailer.Get(name))
	}
	sort.Strings(headers)
	seen.add(r.URL.Path + " " + strings.Join(headers, " "))
	switch r.URL.Path {
	case "/on":
		handOn(w, r)
	case "/redirect":
		http.Redirect(w, r, "/redirected", http.StatusFound)
	case "/shared":
		select {
		case both <- struct{}{}:
		case <-both:
		case <-time.After(time.Minute):
		}
	}
	io.WriteString(w, "ok")
}

// relay speaks TLS where a client wants it, and shows what was encrypted to somebody else.
func relay(to string) string {
	// For its certificate.
	made := httptest.NewUnstartedServer(nil)
	made.StartTLS()
	config := &tls.Config{Certificates: made.TLS.Certificates, NextProtos: []string{"h2"}}
	made.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go func() {
				defer from.Close()
				to, err := net.Dial("tcp", to)
				if err != nil {
					log.Fatal(err)
				}
				go func() {
					io.Copy(from, to)
					from.Close()
				}()
				io.Copy(to, from)
				to.Close()
			}()
		}
	}()
	return listener.Addr().String()
}
