// Command target is an HTTP/1 server that keeps its own truth about each request: what the handler got and did.
//
// It prints the address of its listener. For each line "http1 N" or "http2 N" on its standard input it sends itself so
// many requests over TLS and prints "done"; when the input ends it prints one JSON object for each request and exits.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// truth is about one request.
type truth struct {
	Method      string   `json:"method"`
	Target      string   `json:"target"`
	Host        string   `json:"host"`
	Peer        string   `json:"peer"`
	UserAgent   string   `json:"user_agent"`
	Traceparent []string `json:"traceparent"`
	Tracestate  []string `json:"tracestate"`
	Minor       int      `json:"minor"`
	Status      int      `json:"status"`
	Written     int64    `json:"written"`
	Route       string   `json:"route"`
	Copied      bool     `json:"copied"`
	Panicked    bool     `json:"panicked"`
	Hijacked    bool     `json:"hijacked"`
	Nanoseconds int64    `json:"nanoseconds"`
}

var (
	mutex sync.Mutex
	all   []*truth
)

// recorder notes what the handler makes of the response.
type recorder struct {
	http.ResponseWriter
	truth *truth
}

func (r *recorder) WriteHeader(status int) {
	if r.truth.Status == 0 && (status >= 200 || status == 101) {
		r.truth.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(data []byte) (int, error) {
	if r.truth.Status == 0 {
		r.truth.Status = 200
	}
	r.truth.Written += int64(len(data))
	return r.ResponseWriter.Write(data)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// noting notes the request before anything can change it.
func noting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		t := &truth{
			Method: strings.Clone(r.Method), Target: strings.Clone(r.RequestURI), Host: strings.Clone(r.Host),
			Peer: strings.Clone(r.RemoteAddr), UserAgent: strings.Clone(r.UserAgent()), Minor: r.ProtoMinor,
			Panicked: true,
		}
		for _, value := range r.Header["Traceparent"] {
			t.Traceparent = append(t.Traceparent, strings.Clone(value))
		}
		for _, value := range r.Header["Tracestate"] {
			t.Tracestate = append(t.Tracestate, strings.Clone(value))
		}
		mutex.Lock()
		all = append(all, t)
		mutex.Unlock()
		defer func() { t.Nanoseconds = int64(time.Since(started)) }()
		if strings.HasPrefix(r.URL.Path, "/copied/") {
			t.Copied = true
			r = r.WithContext(context.WithValue(r.Context(), t, t))
		}
		next.ServeHTTP(&recorder{w, t}, r)
		t.Panicked = false
	})
}

// overwriting is a middleware that spoils the request, and makes the memory of what it overwrote somebody else's.
func overwriting(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Method, r.RequestURI, r.Host, r.RemoteAddr, r.Proto = "FAKE", "/fake", "fake", "fake", "fake"
		r.URL.Path, r.URL.RawPath = "/fake", "/fake"
		for name := range r.Header {
			delete(r.Header, name)
		}
		runtime.GC()
		garbage := make([]string, 2000)
		for i := range garbage {
			garbage[i] = strings.Repeat("g", 1+i%200)
		}
		next(w, r)
		runtime.KeepAlive(garbage)
	}
}

func body(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.Atoi(r.URL.Query().Get("size"))
	if size > 0 {
		w.Write(make([]byte, size))
	}
}

func main() {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.(*recorder).truth.Route = pattern
			handler(w, r)
		})
	}
	handle("/body/", body)
	handle("/copied/", body)
	handle("/overwritten/", overwriting(body))
	handle("/slow/", func(w http.ResponseWriter, r *http.Request) { time.Sleep(5 * time.Millisecond) })
	handle("/status/", func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(status)
	})
	handle("/early/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	handle("/flushed/", func(w http.ResponseWriter, r *http.Request) {
		for range [3]int{} {
			fmt.Fprint(w, "data: x\n\n")
			http.NewResponseController(w).Flush()
		}
	})
	handle("/panic/", func(w http.ResponseWriter, r *http.Request) { panic("asked to") })
	handle("/abort/", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	handle("/exit/", func(w http.ResponseWriter, r *http.Request) { runtime.Goexit() })
	handle("/late-panic/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		deeper(100)
	})
	handle("/hijack/", func(w http.ResponseWriter, r *http.Request) { hijack(w, r, false) })
	handle("/hijack-elsewhere/", func(w http.ResponseWriter, r *http.Request) { hijack(w, r, true) })
	patterns(handle)

	server := &http.Server{Handler: noting(mux), ErrorLog: log.New(io.Discard, "", 0)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go server.Serve(listener)
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		overTLS(noting(mux), input.Text())
		fmt.Println("done")
	}
	mutex.Lock()
	defer mutex.Unlock()
	encoder := json.NewEncoder(os.Stdout)
	for _, t := range all {
		if err := encoder.Encode(t); err != nil {
			log.Fatal(err)
		}
	}
}

// overTLS serves and sends requests over TLS.
func overTLS(handler http.Handler, command string) {
	protocol, number, _ := strings.Cut(command, " ")
	requests, _ := strconv.Atoi(number)
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = protocol == "http2"
	server.StartTLS()
	defer server.Close()
	for i := 0; i < requests; i++ {
		response, err := server.Client().Get(server.URL + "/body/" + protocol + strconv.Itoa(i))
		if err != nil {
			log.Fatal(err)
		}
		response.Body.Close()
	}
}

// hijack takes the connection over and answers by hand.
func hijack(w http.ResponseWriter, r *http.Request, elsewhere bool) {
	w.(*recorder).truth.Hijacked = true
	take := func() {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			log.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprint(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
	if !elsewhere {
		take()
		return
	}
	done := make(chan struct{})
	go func() { take(); close(done) }()
	<-done
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
