package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"lightfoot.example/witness"
)

// spoiler makes memory of a request absent: its route stands in a page that nobody has looked at.
type spoiler struct {
	pattern string
	spoil   func(*http.Request)
}

// absent are those that there are: none before Go 1.23, whose requests keep no route.
var absent []spoiler

// routes serves every way in which a request can go.
func routes() http.Handler {
	mux := http.NewServeMux()
	// handle notes the route in the truth before the handler runs.
	handle := func(mux *http.ServeMux, pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			noting := w.(*witness.Recorder)
			noting.Truth.Route = matched(r, pattern)
			if r == noting.Original {
				noting.Truth.OriginalRoute = noting.Truth.Route
			}
			handler(w, r)
		})
	}
	handle(mux, "/plain/", body)
	handle(mux, "/status/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "status")) })
	handle(mux, "/silent/", func(http.ResponseWriter, *http.Request) {})
	handle(mux, "/hints/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	handle(mux, "/echo/", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	handle(mux, "/flush/", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.WriteHeader(http.StatusTeapot) // too late
		body(w, r)
	})
	handle(mux, "/events/", events)
	handle(mux, "/panic/", func(http.ResponseWriter, *http.Request) { panic("asked to") })
	handle(mux, "/panic-late/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		deeper(100)
	})
	handle(mux, "/panic-recovered/", func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			recover()
			w.WriteHeader(http.StatusInternalServerError)
		}()
		deeper(100)
	})
	handle(mux, "/abort/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	handle(mux, "/exit/", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	handle(mux, "/hijack/", func(w http.ResponseWriter, r *http.Request) { hijack(w, "HTTP/1.1 200 OK\r\nConnection: close") })
	handle(mux, "/hijack-elsewhere/", func(w http.ResponseWriter, r *http.Request) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			hijack(w, "HTTP/1.1 200 OK\r\nConnection: close")
		}()
		<-done
	})
	handle(mux, "/upgrade/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		hijack(w, "")
	})
	handle(mux, "/upgrade-by-hand/", func(w http.ResponseWriter, r *http.Request) {
		hijack(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo")
	})
	handle(mux, "/upgrade-proxied/", proxy().ServeHTTP)
	handle(mux, "/copied/", body)
	handle(mux, "/moved/", body)
	patterns(func(pattern string) { handle(mux, pattern, body) })
	for _, s := range absent {
		spoil := s.spoil
		handle(mux, s.pattern, func(w http.ResponseWriter, r *http.Request) { spoil(r) })
	}

	// A handler that hands over to another mux, with the same request and with a copy.
	inner := http.NewServeMux()
	handle(inner, "/nested/leaf/", body)
	handle(mux, "/nested/", inner.ServeHTTP)
	handle(inner, "/leaf/", body)
	handle(mux, "/prefix/", http.StripPrefix("/prefix", inner).ServeHTTP)
	return before(mux)
}

// proxy passes requests on to what is no HTTP server of this process, which switches protocols, says "bye" and leaves.
func proxy() *httputil.ReverseProxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go func() {
				defer connection.Close()
				if _, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
					fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbye")
				}
			}()
		}
	}()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	return proxy
}

// before is what middleware does before ServeMux sees the request.
func before(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect && !strings.HasPrefix(r.RequestURI, "/"):
			// ServeMux has no route for it.
			if r.Header.Get("X-Refuse") != "" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			hijack(w, "HTTP/1.1 200 Connection established")
			return
		case strings.HasPrefix(r.URL.Path, "/copied/"):
			r = r.WithContext(context.WithValue(r.Context(), w, w))
		case strings.HasPrefix(r.URL.Path, "/overwritten/"):
			overwrite(r)
		}
		mux.ServeHTTP(w, r)
	})
}

// overwrite spoils the request, and makes the memory of what stood there somebody else's.
func overwrite(r *http.Request) {
	r.Method, r.RequestURI, r.Host, r.RemoteAddr, r.Proto = "FAKE", "/fake", "fake", "fake", "fake"
	r.URL = &url.URL{Path: "/moved/", RawQuery: r.URL.RawQuery}
	for name := range r.Header {
		delete(r.Header, name)
	}
	runtime.GC()
	garbage := make([]string, 2000)
	for i := range garbage {
		garbage[i] = strings.Repeat("g", 1+i%200)
	}
	runtime.KeepAlive(garbage)
}

// body writes as many bytes as the query's size says, after as many milliseconds as its wait says.
func body(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(number(r, "wait")) * time.Millisecond)
	if size := number(r, "size"); size > 0 {
		w.Write(make([]byte, size))
	}
}

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := 0; i < 3; i++ {
		fmt.Fprintf(w, "data: %d\n\n", i)
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

// hijack takes the connection over, answers by hand and closes it.
func hijack(w http.ResponseWriter, answer string) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		log.Fatal(err)
	}
	if answer != "" {
		fmt.Fprintf(connection, "%s\r\n\r\n", answer)
	}
	fmt.Fprint(connection, "bye")
	connection.Close()
}

func number(r *http.Request, name string) int {
	value, _ := strconv.Atoi(r.URL.Query().Get(name))
	return value
}

// deeper panics after the stack has grown and moved.
func deeper(levels int) byte {
	var frame [4096]byte
	if levels == 0 {
		panic("asked to")
	}
	frame[levels] = deeper(levels - 1)
	return frame[levels/2]
}
