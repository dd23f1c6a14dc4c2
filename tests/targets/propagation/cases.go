package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
)

// ours is what a program sends that traces itself.
const ours = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

type one struct {
	name string
	run  func(sender)
}

// A sender sends the requests of a case.
type sender struct{ name, address string }

var cases = []one{
	{"get", func(s sender) { s.send(s.client(), s.request("GET", nil)) }},
	{"post", func(s sender) { s.send(s.client(), s.request("POST", strings.NewReader("a body"))) }},
	{"chunked", func(s sender) { s.send(s.client(), s.request("POST", unsized("a body"))) }},
	{"head", func(s sender) { s.send(s.client(), s.request("HEAD", nil)) }},
	{"trailers", trailers},
	{"expect", expect},
	{"upgrade", upgrade},
	{"kept", kept},
	{"close", closing},
	{"redirect", func(s sender) { s.send(s.client(), s.request("GET", nil)) }},
	{"direct", direct},
	{"proxy", proxy},
	{"connect", connect},
	{"own", func(s sender) { s.own("Traceparent", ours) }},
	{"own-lower", func(s sender) { s.own("traceparent", ours) }},
	{"own-upper", func(s sender) { s.own("TRACEPARENT", ours) }},
	{"own-mixed", func(s sender) { s.own("tRaCePaReNt", ours) }},
	{"own-empty", func(s sender) { s.own("Traceparent", "") }},
	{"own-twice", func(s sender) { s.own("Traceparent", ours, ours) }},
	{"own-none", func(s sender) { s.own("Traceparent") }},
	{"own-state", func(s sender) { s.own("Tracestate", "a=b") }},
	{"many", func(s sender) { s.many(40, "X-Header-%03d") }},
	{"too-many", func(s sender) { s.many(400, "X-Header-%03d") }},
	{"alike", func(s sender) { s.many(45, "X-Header%03d") }},
	{"long", func(s sender) { s.filled(-2000) }},
	{"room", func(s sender) { s.filled(70) }},
	{"no-room", func(s sender) { s.filled(69) }},
	{"full", func(s sender) { s.filled(0) }},
	// The header takes 70 bytes of what is left behind the others, of which there are some 90.
	{"small-buffer", func(s sender) { s.send(s.buffered(200), s.request("GET", nil)) }},
	{"tiny-buffer", func(s sender) { s.send(s.buffered(120), s.request("GET", nil)) }},
	{"shared", shared},
	{"dumped", dumped},
	{"by-hand", byHand},
}

func (s sender) url() string { return "http://" + s.address + "/" + s.name }

func (s sender) client() *http.Client {
	return &http.Client{Transport: &http.Transport{}}
}

// buffered writes to connections by a buffer of that size.
func (s sender) buffered(size int) *http.Client {
	return &http.Client{Transport: &http.Transport{WriteBufferSize: size}}
}

func (s sender) request(method string, body io.Reader) *http.Request {
	request, err := http.NewRequest(method, s.url(), body)
	if err != nil {
		log.Fatal(err)
	}
	return request
}

func (s sender) send(client *http.Client, request *http.Request) {
	defer client.CloseIdleConnections()
	s.sendOnly(client, request)
}

func (s sender) sendOnly(client *http.Client, request *http.Request) {
	response, err := client.Do(request)
	if err != nil {
		log.Fatalf("%s: %v", s.name, err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		log.Fatalf("%s: %v", s.name, err)
	}
	response.Body.Close()
}

// unsized hides how long a body is.
func unsized(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }

func trailers(s sender) {
	request := s.request("POST", unsized("a body"))
	request.Trailer = http.Header{"X-Last": {"one"}}
	s.send(s.client(), request)
}

func expect(s sender) {
	request := s.request("POST", strings.NewReader("a body"))
	request.Header.Set("Expect", "100-continue")
	client := s.client()
	client.Transport.(*http.Transport).ExpectContinueTimeout = 1 << 40
	s.send(client, request)
}

// upgrade speaks another protocol once the server has agreed.
func upgrade(s sender) {
	request := s.request("GET", nil)
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "words")
	response, err := s.client().Do(request)
	if err != nil || response.StatusCode != 101 {
		log.Fatal(s.name, response, err)
	}
	stream := response.Body.(io.ReadWriteCloser)
	fmt.Fprint(stream, "words of another protocol\r\n\r\n")
	if answer, err := io.ReadAll(stream); err != nil || string(answer) != "words\n" {
		log.Fatal(s.name, string(answer), err)
	}
	stream.Close()
}

func kept(s sender) {
	client := s.client()
	defer client.CloseIdleConnections()
	for i := 0; i < 3; i++ {
		s.sendOnly(client, s.request("GET", nil))
	}
}

func closing(s sender) {
	request := s.request("GET", nil)
	request.Close = true
	s.send(s.client(), request)
}

func direct(s sender) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(s.request("GET", nil))
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

func (s sender) through() *http.Client {
	proxy := &url.URL{Scheme: "http", Host: s.address, User: url.UserPassword("me", "secret")}
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
}

func proxy(s sender) {
	request, err := http.NewRequest("GET", "http://elsewhere.test/proxy", nil)
	if err != nil {
		log.Fatal(err)
	}
	s.send(s.through(), request)
}

// connect asks a proxy for a connection that it does not get.
func connect(s sender) {
	client := s.through()
	defer client.CloseIdleConnections()
	if response, err := client.Get("https://elsewhere.test/connect"); err == nil {
		log.Fatal(s.name, response)
	}
}

// own sends a header under a name that is not made canonical.
func (s sender) own(name string, values ...string) {
	request := s.request("GET", nil)
	request.Header[name] = values
	s.send(s.client(), request)
}

func (s sender) many(count int, name string) {
	request := s.request("GET", nil)
	for i := 0; i < count; i++ {
		request.Header.Set(fmt.Sprintf(name, i), "value")
	}
	s.send(s.client(), request)
}

// filled sends headers after which the buffer has so much room left, or is that much too small.
func (s sender) filled(room int) {
	request := s.request("GET", nil)
	request.Header.Set("X-Fill", "")
	var bare bytes.Buffer
	if err := request.Write(&bare); err != nil {
		log.Fatal(err)
	}
	size := bare.Len() - len("\r\n")
	request.Header.Set("X-Fill", strings.Repeat("x", 4096-room-size))
	client := s.client()
	client.Transport.(*http.Transport).DisableCompression = true
	s.send(client, request)
}

// shared sends two requests at once that have one header map and one URL.
func shared(s sender) {
	var all, started sync.WaitGroup
	started.Add(2)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		started.Done()
		started.Wait()
	}}
	first := s.request("GET", nil)
	first = first.WithContext(httptrace.WithClientTrace(context.Background(), trace))
	second := *first
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, request := range []*http.Request{first, &second} {
		all.Add(1)
		go func(request *http.Request) {
			defer all.Done()
			response, err := client.Transport.RoundTrip(request)
			if err != nil {
				log.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}(request)
	}
	all.Wait()
}

// dumped writes a request elsewhere while it is about to be sent.
func dumped(s sender) {
	var request *http.Request
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		var dump bytes.Buffer
		if err := request.Write(&dump); err != nil || strings.Contains(dump.String(), "traceparent") {
			log.Fatal(s.name, dump.String(), err)
		}
	}}
	request = s.request("GET", nil)
	request = request.WithContext(httptrace.WithClientTrace(context.Background(), trace))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

// byHand writes a request to a connection that net/http knows nothing of.
func byHand(s sender) {
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	request := s.request("GET", nil)
	request.Close = true
	if err := request.Write(connection); err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, connection)
}
