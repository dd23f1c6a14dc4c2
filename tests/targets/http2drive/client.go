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
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// client has one connection.
type client struct {
	server string
	net    net.Conn
	http2  *http2.ClientConn
}

// request is what is sent: METHOD /WHAT/NUMBER/REST?QUERY.
type request struct {
	name, method, what, rest, query string
	headers                         http.Header
	body                            string
	// Leave is how long to wait for the answer since the request was written; 0 is as long as it takes.
	leave time.Duration
	// Left is what leaving is, if it is not to cancel.
	left func()
}

func dial(server string) *client {
	connection := connect(server)
	over, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(connection)
	if err != nil {
		log.Fatal(err)
	}
	return &client{server, connection, over}
}

// connect gives a connection over which HTTP/2 may begin.
func connect(server string) net.Conn {
	scheme, address, _ := strings.Cut(server, "://")
	if scheme == "http" {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			log.Fatal(err)
		}
		return connection
	}
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		log.Fatal(err)
	}
	if connection.ConnectionState().NegotiatedProtocol != "h2" {
		log.Fatalf("%s does not speak HTTP/2", server)
	}
	return connection
}

func (c *client) close() {
	c.http2.Close()
	c.net.Close()
}

// exchange sends a request and prints what came of it.
func (c *client) exchange(r request) {
	s := seen{Case: r.name, Number: numbers.Add(1), Trailers: map[string]string{}, Informational: []int{}}
	defer func() { s.print() }()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
		s.Informational = append(s.Informational, status)
		return nil
	}}
	ctx, cancel := context.WithCancel(httptrace.WithClientTrace(context.Background(), trace))
	defer cancel()
	leave := r.left
	if leave == nil {
		leave = cancel
	}
	trace.WroteRequest = func(httptrace.WroteRequestInfo) {
		if r.leave > 0 {
			time.AfterFunc(r.leave, leave)
		}
	}
	if r.method == "" {
		r.method = http.MethodGet
	}
	url := fmt.Sprintf("%s/%s/%d%s", c.server, r.what, s.Number, r.rest)
	if r.query != "" {
		url += "?" + r.query
	}
	out, err := http.NewRequestWithContext(ctx, r.method, url, strings.NewReader(r.body))
	if err != nil {
		log.Fatal(err)
	}
	if r.body == "" {
		out.Body = http.NoBody
	}
	out.Header.Set("User-Agent", "row/"+r.name)
	for name, values := range r.headers {
		out.Header[name] = values
		if name == "Host" {
			out.Host = values[0]
		}
	}
	response, err := c.http2.RoundTrip(out)
	if err != nil {
		s.Error = err.Error()
		return
	}
	defer response.Body.Close()
	s.Status = response.StatusCode
	s.Body, err = io.Copy(io.Discard, response.Body)
	s.Complete = err == nil
	if err != nil {
		s.Error = err.Error()
	}
	for name := range response.Trailer {
		s.Trailers[name] = response.Trailer.Get(name)
	}
}
