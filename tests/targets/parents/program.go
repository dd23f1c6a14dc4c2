package main

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lightfoot.example/witness"
)

// The rules by which a parent can be found.
const (
	byContext         = "context"
	byGoroutine       = "goroutine"
	byParentGoroutine = "parent_goroutine"
	byNone            = ""
)

// program is everything that handlers share.
type program struct {
	truth *witness.Log
	// Where requests and calls go.
	address, upstream string

	transport *http.Transport
	clients   []*http.Client
	// nosy, growing and panicking have callbacks that run inside of RoundTrip.
	nosy, growing, panicking *http.Client

	// pool is read by workers that are as old as the program.
	pool chan func()
	// kept are goroutines that a handler has started and that wait for work.
	kept, lazy market[*keptGoroutine]
	lent       market[*lentContext]
	// lazyWait is for how long the request that has started a goroutine of the lazy pool stays open, in nanoseconds.
	lazyWait atomic.Int64

	// answered has a channel for each request that the driver has sent, closed when its whole response has come.
	answered sync.Map
	// pending is work that outlives its request.
	pending sync.WaitGroup
	held    heldRequests
}

// lazyWait is long enough for requests that come at random to meet the goroutine sometimes.
const lazyWait = 5 * time.Millisecond

// served is what one request was.
type served struct {
	Kind   string `json:"kind"` // "served"
	Case   string `json:"case"`
	Number int64  `json:"number"`
	// Remote is what the request's traceparent says.
	Remote *witness.Parent `json:"remote,omitempty"`
	// Start and End enclose the handler.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

func newProgram(truth *witness.Log) *program {
	p := &program{truth: truth, pool: make(chan func())}
	p.lazyWait.Store(int64(lazyWait))
	p.transport = &http.Transport{MaxIdleConnsPerHost: 2000}
	p.clients = []*http.Client{
		{Transport: p.transport},
		{Transport: p.transport, Timeout: time.Minute},
		{Transport: tagging{p.transport}},
		{Transport: tagging{tagging{p.transport}}},
	}
	inside := func(callback func(*http.Request)) *http.Client {
		return &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 2000,
			Proxy: func(request *http.Request) (*url.URL, error) {
				callback(request)
				return nil, nil
			},
		}}
	}
	p.nosy = inside(p.callInside)
	p.growing = inside(func(*http.Request) { grow(40) })
	p.panicking = inside(func(*http.Request) { panic("in a callback") })
	for i := 0; i < 8; i++ {
		go func() {
			for work := range p.pool {
				work()
			}
		}()
	}
	p.upstream = "http://" + listen(answer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	p.address = listener.Addr().String()
	go (&http.Server{Handler: p}).Serve(listener)
	return p
}

// ServeHTTP serves a request as the case in its path wants.
func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	truth := served{Kind: "served", Start: witness.BootTime()}
	truth.Case, truth.Number = witness.Place(r.URL.Path)
	truth.Case, truth.Remote = strings.Clone(truth.Case), witness.ParseTraceparent(r.Header["Traceparent"])
	handle := handlers[truth.Case]
	if handle == nil {
		log.Fatalf("no case %q", truth.Case)
	}
	handle(p, r, &incoming{name: truth.Case, number: truth.Number})
	truth.End = witness.BootTime()
	p.truth.Write(truth)
}

// incoming is a request as handlers see it.
type incoming struct {
	name   string
	number int64
}

// call makes a call, by one client or the other, whose span must have the parent that the rule finds.
func (p *program) call(ctx context.Context, in *incoming, rule string, parent int64) {
	number := witness.Number()
	p.callBy(p.clients[number%int64(len(p.clients))], ctx, in, number, rule, parent)
}

func (p *program) callBy(
	client *http.Client, ctx context.Context, in *incoming, number int64, rule string, parent int64,
) {
	p.send(client, outgoing(ctx, p.upstream, in.name, number), in, rule, parent)
}

func (p *program) send(client *http.Client, request *http.Request, in *incoming, rule string, parent int64) {
	truth := witness.Call{Rule: rule, Parent: parent, Cause: in.number}.Begin(request)
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	p.truth.Write(truth.Finish(response, nil))
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

func outgoing(ctx context.Context, server, name string, number int64) *http.Request {
	request, err := http.NewRequestWithContext(ctx, "GET", server+path(name, number), nil)
	if err != nil {
		log.Fatal(err)
	}
	return request
}

// tagging is a wrapper around a transport.
type tagging struct{ next http.RoundTripper }

func (t tagging) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-Tag", "1")
	return t.next.RoundTrip(request)
}

// answer answers all requests of a connection.
func answer(connection net.Conn) {
	input := bufio.NewReader(connection)
	for {
		line, err := input.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) == len("\r\n") {
			if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
				return
			}
		}
	}
}

// listen serves connections by hand.
func listen(serve func(net.Conn)) (address string) {
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
				serve(connection)
			}()
		}
	}()
	return listener.Addr().String()
}

// grow makes the stack grow, and so move.
func grow(levels int) byte {
	var frame [4096]byte
	if levels == 0 {
		return 0
	}
	frame[levels] = grow(levels - 1)
	return frame[levels/2]
}
