package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connect makes a client that sends all requests over one connection, as long as the server takes so many at once.
func connect(address string, encrypted bool) *http2.Transport {
	client := &http2.Transport{AllowHTTP: !encrypted, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if !encrypted {
		client.DialTLSContext = func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	return client
}

// roundTrip sends a request and reads the answer, whatever it is.
func roundTrip(client *http2.Transport, address string, r request) {
	to := &url.URL{Scheme: "https", Host: address}
	if client.AllowHTTP {
		to.Scheme = "http"
	}
	if strings.HasPrefix(r.Target, "/") {
		target, err := url.ParseRequestURI(r.Target)
		if err != nil {
			log.Fatal(err)
		}
		to.Path, to.RawPath, to.RawQuery = target.Path, target.RawPath, target.RawQuery
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if r.Leave {
		whenServed(r.Target, leave)
	}
	sent := &http.Request{Method: r.Method, URL: to, Host: r.Host, Header: http.Header{"User-Agent": {""}}}
	for _, header := range r.Headers {
		if name := http.CanonicalHeaderKey(header[0]); name == "User-Agent" {
			sent.Header.Set(name, header[1])
		} else {
			sent.Header[name] = append(sent.Header[name], header[1])
		}
	}
	response, err := client.RoundTrip(sent.WithContext(ctx))
	if err != nil {
		return // the handler panicked, or the client has left
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

// upgrade sends the first request over HTTP/1.1, asking for HTTP/2, and the others, one after the other, over HTTP/2.
func upgrade(address string, requests []request) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	noSettings := base64.RawURLEncoding.EncodeToString(nil)
	first := requests[0]
	fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"+
		"HTTP2-Settings: %s\r\n", first.Method, first.Target, first.Host, noSettings)
	for _, header := range first.Headers {
		fmt.Fprintf(connection, "%s: %s\r\n", header[0], header[1])
	}
	fmt.Fprint(connection, "\r\n")
	reader := bufio.NewReader(connection)
	for line := ""; line != "\r\n"; {
		if line, err = reader.ReadString('\n'); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Fprint(connection, http2.ClientPreface)
	framer := http2.NewFramer(connection, reader)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		log.Fatal(err)
	}
	finish(framer, 1)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i, r := range requests[1:] {
		field := func(name, value string) { encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
		field(":method", r.Method)
		field(":scheme", "http")
		field(":authority", r.Host)
		field(":path", r.Target)
		for _, header := range r.Headers {
			field(strings.ToLower(header[0]), header[1])
		}
		stream := uint32(3 + 2*i)
		headers := http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}
		if err := framer.WriteHeaders(headers); err != nil {
			log.Fatal(err)
		}
		block.Reset()
		finish(framer, stream)
	}
}

// finish reads until the stream ends.
func finish(framer *http2.Framer, stream uint32) {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			log.Fatal(err)
		}
		_, reset := frame.(*http2.RSTStreamFrame)
		if frame.Header().StreamID == stream && (reset || frame.Header().Flags.Has(http2.FlagDataEndStream)) {
			return
		}
	}
}
