package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"lightfoot.example/witness"
)

var cases = []struct {
	name string
	run  func(s *scene, name string)
}{
	{"x-tls", func(s *scene, name string) { s.get(name, s.encrypted(), s.configured+"/#") }},
	{"x-tls-kept", func(s *scene, name string) {
		transport := s.encrypted()
		for i := 0; i < 3; i++ {
			s.do(&http.Client{Transport: transport}, s.request(name, s.configured+"/#"))
		}
		transport.CloseIdleConnections()
	}},
	{"x-post", func(s *scene, name string) {
		request := s.request(name, s.bare+"/#")
		request.Method, request.ContentLength = "POST", 6
		request.Body = io.NopCloser(bytes.NewReader([]byte("a body")))
		s.doOnce(cleartext(), request)
	}},
	{"x-cleartext", func(s *scene, name string) { s.get(name, cleartext(), s.bare+"/#") }},
	{"x-direct", func(s *scene, name string) {
		request := s.request(name, s.bare+"/#")
		transport := cleartext()
		defer transport.CloseIdleConnections()
		truth := witness.Call{}.Begin(request)
		response, err := transport.RoundTrip(request)
		s.truth.Write(truth.Finish(response, err))
		drain(response)
	}},
	{"x-wrapped", func(s *scene, name string) {
		s.doOnce(&witnessed{cleartext()}, s.request(name, s.bare+"/#"))
	}},
	// x/net's transport below net/http's.
	{"x-configured", func(s *scene, name string) {
		transport := &http.Transport{TLSClientConfig: s.trusting()}
		if err := http2.ConfigureTransport(transport); err != nil {
			log.Fatal(err)
		}
		for i := 0; i < 2; i++ {
			s.do(&http.Client{Transport: transport}, s.request(name, s.configured+"/#"))
		}
		transport.CloseIdleConnections()
	}},
	{"x-status-404", func(s *scene, name string) { s.get(name, cleartext(), s.bare+"/#") }},
	{"x-stream-reset", func(s *scene, name string) { s.get(name, cleartext(), s.bare+"/#") }},
	{"x-cancelled", func(s *scene, name string) {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		s.doOnce(cleartext(), s.request(name, s.bare+"/#").WithContext(ctx))
	}},
	{"x-refused", func(s *scene, name string) { s.get(name, cleartext(), "http://127.0.0.1:1/#") }},
	{"x-unencrypted-refused", func(s *scene, name string) { s.get(name, &http2.Transport{}, s.bare+"/#") }},
	{"x-redirects", func(s *scene, name string) {
		last := s.address(name, s.bare+"/#")
		s.get(name, cleartext(), s.bare+"/#?to="+url.QueryEscape(last))
	}},
}

// answer answers calls.
func answer(w http.ResponseWriter, r *http.Request) {
	switch name, _ := witness.Place(r.URL.Path); name {
	case "x-stream-reset":
		panic(http.ErrAbortHandler)
	case "x-cancelled":
		<-r.Context().Done()
	case "x-status-404":
		w.WriteHeader(http.StatusNotFound)
	case "x-post":
		io.Copy(w, r.Body)
	default:
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		} else {
			io.WriteString(w, "hello")
		}
	}
}

// idle is a transport that can be ended.
type idle interface {
	http.RoundTripper
	CloseIdleConnections()
}

// witnessed is a wrapper around x/net's transport.
type witnessed struct{ *http2.Transport }

func (w *witnessed) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-Tag", "1")
	return w.Transport.RoundTrip(request)
}

func cleartext() *http2.Transport {
	return &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
}

func (s *scene) encrypted() *http2.Transport { return &http2.Transport{TLSClientConfig: s.trusting()} }

func (s *scene) trusting() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.certificates.Certificate())
	return &tls.Config{RootCAs: roots}
}

// address replaces # by CASE/NUMBER.
func (s *scene) address(name, pattern string) string {
	return strings.Replace(pattern, "#", fmt.Sprintf("%s/%d", name, witness.Number()), 1)
}

func (s *scene) request(name, pattern string) *http.Request {
	request, err := http.NewRequest("GET", s.address(name, pattern), nil)
	if err != nil {
		log.Fatal(err)
	}
	return request
}

func (s *scene) get(name string, transport idle, pattern string) {
	s.doOnce(transport, s.request(name, pattern))
}

func (s *scene) doOnce(transport idle, request *http.Request) {
	defer transport.CloseIdleConnections()
	s.do(&http.Client{Transport: transport}, request)
}

func (s *scene) do(client *http.Client, request *http.Request) {
	response, _ := witness.Do(s.truth, client, request, witness.Call{})
	drain(response)
}

func drain(response *http.Response) {
	if response != nil {
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
