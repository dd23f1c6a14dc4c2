package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// ours is what a program sends that traces itself.
const ours = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

type one struct {
	name string
	run  func(sender)
}

// A sender sends the requests of a case.
type sender struct {
	name, url string
	client    *http.Client
}

var cases = []one{
	{"get", func(s sender) { s.send(s.request("GET", nil)) }},
	{"post", func(s sender) { s.send(s.request("POST", strings.NewReader("a body"))) }},
	{"chunked", func(s sender) { s.send(s.request("POST", unsized("a body"))) }},
	{"head", func(s sender) { s.send(s.request("HEAD", nil)) }},
	{"trailers", trailers},
	{"expect", expect},
	{"kept", kept},
	{"redirect", func(s sender) { s.send(s.request("GET", nil)) }},
	{"connect", func(s sender) { s.send(s.request("CONNECT", nil)) }},
	{"own", func(s sender) { s.own("Traceparent", ours) }},
	{"own-lower", func(s sender) { s.own("traceparent", ours) }},
	{"own-upper", func(s sender) { s.own("TRACEPARENT", ours) }},
	{"own-mixed", func(s sender) { s.own("tRaCePaReNt", ours) }},
	{"own-empty", func(s sender) { s.own("Traceparent", "") }},
	{"own-twice", func(s sender) { s.own("Traceparent", ours, ours) }},
	{"own-none", func(s sender) { s.own("Traceparent") }},
	{"own-state", func(s sender) { s.own("Tracestate", "a=b") }},
	{"many", func(s sender) { s.many(10, "X-Header-%03d") }},
	{"too-many", func(s sender) { s.many(400, "X-Header-%03d") }},
	{"alike", func(s sender) { s.many(45, "X-Header%03d") }},
	{"some", func(s sender) { s.own("X-Fill", strings.Repeat("x", 150)) }},
	{"long", long},
	{"shared", shared},
	{"limited", limited},
}

func find(name string) func(sender) {
	for _, c := range cases {
		if c.name == name {
			return c.run
		}
	}
	log.Fatalf("no case %q", name)
	return nil
}

// client makes one of net/http or of x/net.
func client(of string) *http.Client {
	if of == "x/net" {
		return &http.Client{Transport: &http2.Transport{
			AllowHTTP: true,
			DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}}
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
}

func address(client, address string) string {
	if client == "x/net" {
		return "http://" + address
	}
	return "https://" + address
}

func (s sender) request(method string, body io.Reader) *http.Request {
	request, err := http.NewRequest(method, s.url+"/"+s.name, body)
	if err != nil {
		log.Fatal(err)
	}
	return request
}

func (s sender) send(request *http.Request) {
	if err := answered(s.client.Do(request)); err != nil {
		log.Fatalf("%s: %v", s.name, err)
	}
}

// answered reads an answer to its end.
func answered(response *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != 200 || response.ProtoMajor != 2 {
		return fmt.Errorf("%s %s", response.Proto, response.Status)
	}
	return nil
}

// unsized hides how long a body is.
func unsized(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }

func trailers(s sender) {
	request := s.request("POST", unsized("a body"))
	request.Trailer = http.Header{"X-Last": {"one"}}
	s.send(request)
}

func expect(s sender) {
	request := s.request("POST", strings.NewReader("a body"))
	request.Header.Set("Expect", "100-continue")
	s.send(request)
}

func kept(s sender) {
	for i := 0; i < 3; i++ {
		s.send(s.request("GET", nil))
	}
}

// own sends a header under a name that is not made canonical.
func (s sender) own(name string, values ...string) {
	request := s.request("GET", nil)
	request.Header[name] = values
	s.send(request)
}

func (s sender) many(count int, name string) {
	request := s.request("GET", nil)
	for i := 0; i < count; i++ {
		request.Header.Set(fmt.Sprintf(name, i), "value")
	}
	s.send(request)
}

// shared sends two requests at once that have one header map and one URL. The connection is there before them.
func shared(s sender) {
	before := s
	before.name = "before"
	before.own("Traceparent", ours)
	var all, started sync.WaitGroup
	started.Add(2)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		started.Done()
		started.Wait()
	}}
	first := s.request("GET", nil)
	first = first.WithContext(httptrace.WithClientTrace(context.Background(), trace))
	second := *first
	for _, request := range []*http.Request{first, &second} {
		all.Add(1)
		go func(request *http.Request) {
			defer all.Done()
			if err := answered(s.client.Transport.RoundTrip(request)); err != nil {
				log.Fatal(err)
			}
		}(request)
	}
	all.Wait()
}

// long sends headers that are longer than the frames that any server takes, once this one has said how long it takes them.
func long(s sender) {
	s.own("Traceparent", ours)
	s.own("X-Fill", strings.Repeat("x", 30000))
}

// limited sends a request to a server that has said how long a list of headers it takes.
func limited(s sender) {
	s.own("Traceparent", ours)
	s.send(s.request("GET", nil))
}

// load sends requests with and without a body from many goroutines over few connections, and counts those that fail.
func load(count, workers int, client *http.Client, url string) (failed int64) {
	defer client.CloseIdleConnections()
	work := make(chan int)
	var all sync.WaitGroup
	for i := 0; i < workers; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range work {
				body := ""
				if number%3 == 0 {
					body = strings.Repeat("x", number%6000)
				}
				to := fmt.Sprintf("%s/load/%d", url, number)
				request, err := http.NewRequest("POST", to, strings.NewReader(body))
				if err != nil {
					log.Fatal(err)
				}
				if number%5 == 0 {
					request.Header.Set("Traceparent", ours)
				}
				if number%7 == 0 && body != "" { // without a body net/http does not end the stream
					request.Trailer = http.Header{"X-Last": {"one"}}
				}
				if err := answered(client.Do(request)); err != nil {
					log.Print(err)
					atomic.AddInt64(&failed, 1)
				}
			}
		}()
	}
	for i := 0; i < count; i++ {
		work <- i
	}
	close(work)
	all.Wait()
	return failed
}
