// Command target is a client, and a server whose handlers are clients.
//
// It prints the address of its server. For each line "NAME ARGUMENT" on its standard input it does what that stands for and
// prints one line: what the test asked for, or "done".
package main

import (
	"bufio"
	"context"
	"crypto/tls"
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
	"sync/atomic"
	"unsafe"
)

// The server's own URL, and those of servers that speak TLS.
var origin, secure, secure2 string

var client = &http.Client{Transport: transport}

var transport = func() *http.Transport {
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 256,
		ForceAttemptHTTP2:   true,
	}
	for _, scheme := range []string{"test", "tests", "longer"} {
		t.RegisterProtocol(scheme, alternate{})
	}
	return t
}()

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", back)
	mux.HandleFunc("/front/", front)
	mux.HandleFunc("/hop/", hop)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	origin = "http://" + listener.Addr().String()
	quiet := log.New(io.Discard, "", 0)
	go (&http.Server{Handler: mux, ErrorLog: quiet, ConnState: reported}).Serve(listener)
	over := func(http2 bool) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(back))
		server.EnableHTTP2 = http2
		server.StartTLS()
		return server.URL
	}
	secure, secure2 = over(false), over(true)
	for i := 0; i < 4; i++ {
		go work()
	}

	fmt.Println(listener.Addr())
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		name, argument, _ := strings.Cut(input.Text(), " ")
		// A goroutine of its own, lest one leave something open for the next.
		done := make(chan string)
		go func() {
			answer := "done"
			defer func() {
				if recovered := recover(); recovered != nil {
					answer = fmt.Sprint(recovered)
				}
				done <- answer
			}()
			command, known := commands[name]
			if !known {
				panic("unknown command: " + name)
			}
			if said := command(argument); said != "" {
				answer = said
			}
		}()
		fmt.Println(<-done)
	}
}

// Whether the next connection that becomes idle is to be reported by a request.
var reports atomic.Bool

// reported runs between two requests on the goroutine of the connection that serves them.
func reported(conn net.Conn, state http.ConnState) {
	if state == http.StateIdle && reports.CompareAndSwap(true, false) {
		send(client, context.Background(), "GET", origin+"/a-path-that-is-longer-than-an-address")
	}
}

// back answers with the status that its query asks for.
func back(w http.ResponseWriter, r *http.Request) {
	switch query := r.URL.Query(); {
	case query.Has("status"):
		status, _ := strconv.Atoi(query.Get("status"))
		w.WriteHeader(status)
	case query.Has("chunked"):
		w.(http.Flusher).Flush()
	case query.Has("hang"):
		<-r.Context().Done()
	case query.Has("reset"):
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, "hello")
}

// hop redirects from /hop/N to /hop/N-1.
func hop(w http.ResponseWriter, r *http.Request) {
	if left, _ := strconv.Atoi(r.URL.Path[len("/hop/"):]); left > 0 {
		http.Redirect(w, r, fmt.Sprint("/hop/", left-1), http.StatusFound)
	}
}

// commands are what the test asks for.
var commands = map[string]func(string) string{
	"origin":  func(string) string { return origin },
	"report":  func(string) string { reports.Store(true); return "" },
	"secure":  func(string) string { return secure },
	"secure2": func(string) string { return secure2 },
	// A request for a URL, with any method before it.
	"send": func(argument string) string {
		method, url, _ := strings.Cut(argument, " ")
		return send(client, context.Background(), method, url)
	},
	// As many as asked for.
	"many": func(argument string) string {
		number, _ := strconv.Atoi(argument)
		for i := 0; i < number; i++ {
			send(client, context.Background(), "GET", origin+"/many/path")
		}
		return ""
	},
	"no-method": func(string) string {
		request := request(context.Background(), "GET", origin+"/no-method")
		request.Method = ""
		return finish(client.Do(request))
	},
	"opaque": func(opaque string) string {
		request := request(context.Background(), "GET", origin)
		request.URL.Opaque = opaque
		return finish(client.Do(request))
	},
	"no-url": func(string) string {
		return finish(called(transport, &http.Request{Method: "GET", Header: http.Header{}}))
	},
	"cancelled": func(string) string {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return send(client, ctx, "GET", origin+"/cancelled")
	},
	"late": func(string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 50_000_000)
		defer cancel()
		return send(client, ctx, "GET", origin+"/late?hang")
	},
	// Through a RoundTripper around the transport.
	"wrapped": func(url string) string {
		return send(&http.Client{Transport: wrapper{transport}}, context.Background(), "GET", url)
	},
	// Not through net/http.send.
	"called": func(url string) string {
		return finish(called(transport, request(context.Background(), "GET", url)))
	},
	"direct": func(url string) string {
		return finish(direct(transport, request(context.Background(), "GET", url)))
	},
	// Calls the transport and then, from deeper in the stack, a client.
	"called-then-send": func(urls string) string {
		first, second, _ := strings.Cut(urls, " ")
		finish(called(transport, request(context.Background(), "GET", first)))
		return deeper(4, func() string { return send(client, context.Background(), "GET", second) })
	},
	// A transport panics, and the same goroutine goes on.
	"panic-then-send": func(url string) string {
		func() {
			defer func() { recover() }()
			send(client, context.Background(), "GET", "test://panic/x")
		}()
		return send(client, context.Background(), "GET", url)
	},
	// A client whose transport calls another client before it sends the request.
	"proxied": func(urls string) string {
		first, second, _ := strings.Cut(urls, " ")
		outer := transport.Clone()
		outer.Proxy = func(*http.Request) (_ *url, err error) {
			send(client, context.Background(), "GET", second)
			return nil, nil
		}
		return send(&http.Client{Transport: outer}, context.Background(), "GET", first)
	},
	// What stands in for a transport within a transport, alone.
	"inner": func(url string) string {
		return finish(new(inner).RoundTrip(request(context.Background(), "GET", url)))
	},
	// The words of a context that lives as long as the program, and of its ancestors: itab and data of each.
	"long-lived": func(string) string {
		own := *(*[2]uint64)(unsafe.Pointer(&longLived))
		parent := *(*[2]uint64)(unsafe.Pointer(&longLivedParent))
		background := context.Background()
		grandparent := *(*[2]uint64)(unsafe.Pointer(&background))
		return fmt.Sprint(own[0], own[1], parent[0], parent[1], grandparent[0], grandparent[1])
	},
	"send-with-long-lived": func(url string) string { return send(client, longLived, "GET", url) },
	// So many contexts around that.
	"send-with-deep": func(argument string) string {
		number, url, _ := strings.Cut(argument, " ")
		levels, _ := strconv.Atoi(number)
		ctx := longLived
		for i := 0; i < levels; i++ {
			ctx = context.WithValue(ctx, key(i), i)
		}
		return send(client, ctx, "GET", url)
	},
	"send-with-nil-pointer": func(url string) string {
		return finish(called(transport, request((*nilSafe)(nil), "GET", url)))
	},
	"wait": func(string) string { late.Wait(); return "" },
	"gc":   func(string) string { runtime.GC(); return "" },
}

var longLivedParent, _ = context.WithCancel(context.Background())
var longLived = context.WithValue(longLivedParent, key(0), 0)

var late sync.WaitGroup

type key int

// nilSafe is a context whose nil pointer works.
type nilSafe struct{ context.Context }

func (*nilSafe) Done() <-chan struct{} { return nil }
func (*nilSafe) Err() error            { return nil }
func (*nilSafe) Value(any) any         { return nil }

func request(ctx context.Context, method, url string) *http.Request {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	check(err)
	return request
}

func send(client *http.Client, ctx context.Context, method, url string) string {
	return finish(client.Do(request(ctx, method, url)))
}

// finish reads the response so that its connection is used again.
func finish(response *http.Response, err error) string {
	if err != nil {
		return ""
	}
	if response.Body != nil {
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	return ""
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

//go:noinline
func deeper(levels int, do func() string) string {
	var frame [128]byte
	if levels == 0 {
		return do()
	}
	said := deeper(levels-1, do)
	runtime.KeepAlive(frame)
	return said
}
