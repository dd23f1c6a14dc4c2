package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lightfoot.example/witness"
)

// own is a client with a transport of its own.
func own(transport *http.Transport) (*http.Client, func()) {
	return &http.Client{Transport: transport}, transport.CloseIdleConnections
}

// address replaces # by CASE/NUMBER.
func (s *scene) address(name, pattern string) string {
	return strings.Replace(pattern, "#", fmt.Sprintf("%s/%d", name, witness.Number()), 1)
}

func (s *scene) request(name, method, pattern string) *http.Request {
	request, err := http.NewRequest(method, s.address(name, pattern), nil)
	if err != nil {
		log.Fatal(err)
	}
	return request
}

func (s *scene) post(name, pattern string) *http.Request {
	request, err := http.NewRequest("POST", s.address(name, pattern), bytes.NewReader([]byte("a body")))
	if err != nil {
		log.Fatal(err)
	}
	return request
}

// send makes a call with the client that most use.
func (s *scene) send(name, method, pattern string) {
	s.do(s.client, s.request(name, method, pattern))
}

// do makes a call and writes its truth.
func (s *scene) do(client *http.Client, request *http.Request) {
	response, _ := witness.Do(s.truth, client, request, witness.Call{})
	drain(response)
}

// roundTrip calls through an interface.
func (s *scene) roundTrip(transport http.RoundTripper, request *http.Request) {
	call := witness.Call{}.Begin(request)
	response, err := transport.RoundTrip(request)
	s.truth.Write(call.Finish(response, err))
	drain(response)
}

// outside is a transport that writes the truth about its calls.
func (s *scene) outside(transport http.RoundTripper) http.RoundTripper {
	return &witness.Outside{Next: transport, Log: s.truth}
}

// sendOnly makes a call whose truth a transport writes.
func sendOnly(client *http.Client, request *http.Request) {
	response, _ := client.Do(request)
	drain(response)
}

// elsewhere calls a URL whose server is another one.
func (s *scene) elsewhere(name, pattern, server string) {
	there := strings.SplitN(server, "//", 2)[1]
	client, end := own(&http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, there)
		},
	})
	defer end()
	s.do(client, s.request(name, "GET", pattern))
}

func (s *scene) cancelled(name string, client *http.Client, server string) {
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(givenUp, cancel)
	defer timer.Stop()
	s.do(client, s.request(name, "GET", server+"/#").WithContext(ctx))
}

// through calls by way of a proxy.
func (s *scene) through(name, proxy, pattern string) {
	address, err := url.Parse(proxy)
	if err != nil {
		log.Fatal(err)
	}
	client, end := own(&http.Transport{Proxy: http.ProxyURL(address), TLSClientConfig: &tls.Config{RootCAs: s.roots}})
	defer end()
	s.do(client, s.request(name, "GET", pattern))
}

// incoming sends a request to a proxy that passes it on to another server, without a client that could be watched. The
// truth is about the call that the proxy makes.
func (s *scene) incoming(name, proxy, server, query string) {
	number := witness.Number()
	path := fmt.Sprintf("/%s/%d%s", name, number, query)
	connection, err := net.Dial("tcp", strings.TrimPrefix(proxy, "http://"))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	call := witness.Call{
		Kind: "call", Case: name, Number: number, Method: "GET", URL: server + path, Length: -1,
		Parent: number, Rule: "context", Cause: number, Start: witness.BootTime(),
	}
	fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n\r\n", path)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		log.Fatal(err)
	}
	drain(response)
	call.End = witness.BootTime()
	if server == "http://"+s.refused {
		// What the proxy makes of the failure is no matter of its call.
		call.Error = "*net.OpError"
	} else {
		call.Status, call.Version, call.Length = response.StatusCode, "1.1", response.ContentLength
	}
	s.truth.Write(call)
}

// drain makes the connection free for the next call.
func drain(response *http.Response) {
	if response != nil {
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
