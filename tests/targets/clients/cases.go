package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lightfoot.example/witness"
)

// givenUp is when calls are given up that are not answered: after the server has seen them, on a slow machine, too.
const givenUp = 100 * time.Millisecond

// one is a case: a way to call.
type one struct {
	name string
	run  func(s *scene, name string)
}

// further cases are those that some versions of Go don't know.
var further []one

func all() []one {
	return append([]one{
		{name: "get", run: get},
		{name: "head", run: func(s *scene, name string) { s.send(name, "HEAD", s.plain+"/#") }},
		{name: "post", run: func(s *scene, name string) { s.do(s.client, s.post(name, s.plain+"/#")) }},
		{name: "chunked", run: func(s *scene, name string) {
			request := s.post(name, s.plain+"/#")
			request.ContentLength = -1
			s.do(s.client, request)
		}},
		{name: "empty-method", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.Method = ""
			s.do(s.client, request)
		}},
		{name: "odd-method", run: func(s *scene, name string) { s.send(name, "BREW", s.plain+"/#") }},
		{name: "keep-alive", run: keepAlive},
		{name: "default-client", run: func(s *scene, name string) {
			s.do(http.DefaultClient, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "status-404", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/#?status=404") }},
		{name: "status-503", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/#?status=503") }},
		{name: "no-body", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/#?status=204") }},
		{name: "early-hints", run: get},
		{name: "upgraded", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.Header.Set("Connection", "Upgrade")
			request.Header.Set("Upgrade", "echo")
			s.do(s.client, request)
		}},
		{name: "expect-continue", run: func(s *scene, name string) {
			client, end := own(&http.Transport{ExpectContinueTimeout: 5 * time.Second})
			defer end()
			request := s.post(name, s.plain+"/#")
			request.Header.Set("Expect", "100-continue")
			s.do(client, request)
		}},
		{name: "http-1.0", run: against(says("HTTP/1.0 200 OK\r\n\r\nhello"))},

		{name: "user-info", run: func(s *scene, name string) {
			s.send(name, "GET", strings.Replace(s.plain, "//", "//ann:s3cret@", 1)+"/#")
		}},
		{name: "query", run: func(s *scene, name string) {
			s.send(name, "GET", s.plain+"/#?page=2&sig=s3cret&AWSAccessKeyId=s3cret")
		}},
		{name: "fragment", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/##part") }},
		{name: "escaped-path", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/#/a%2Fb%20c/%c3%a4/%7e") }},
		{name: "unescaped-path", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.URL.Path += "/a b/ä/100%/\"x\""
			s.do(s.client, request)
		}},
		{name: "opaque", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.URL.Opaque = "//" + request.URL.Host + request.URL.Path + "/%2F"
			s.do(s.client, request)
		}},
		{name: "long-url", run: func(s *scene, name string) { s.send(name, "GET", s.plain+"/#/"+strings.Repeat("x", 8192)) }},
		{name: "ipv6", run: func(s *scene, name string) { s.send(name, "GET", s.plain6+"/#") }},
		{name: "host-header", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.Host = "other.test:81"
			s.do(s.client, request)
		}},
		{name: "default-port-http", run: func(s *scene, name string) { s.elsewhere(name, "http://shop.test/#", s.plain) }},
		{name: "default-port-https", run: func(s *scene, name string) {
			s.elsewhere(name, "https://example.com/#", s.secure)
		}},
		{name: "upper-case-host", run: func(s *scene, name string) { s.elsewhere(name, "HTTP://Shop.Test:8080/#", s.plain) }},
		{name: "connect", run: func(s *scene, name string) { s.send(name, "CONNECT", s.plain+"/#") }},

		{name: "http2-get", run: get2},
		{name: "http2-post", run: func(s *scene, name string) { s.do(s.client2, s.post(name, s.secure+"/#")) }},
		{name: "http2-keep-alive", run: func(s *scene, name string) {
			for i := 0; i < 3; i++ {
				get2(s, name)
			}
		}},
		{name: "http2-status-503", run: func(s *scene, name string) {
			s.do(s.client2, s.request(name, "GET", s.secure+"/#?status=503"))
		}},
		{name: "http2-stream-reset", run: get2},
		{name: "http2-cut-body", run: get2},
		{name: "http2-cancelled", run: func(s *scene, name string) { s.cancelled(name, s.client2, s.secure) }},

		{name: "client-timeout", run: func(s *scene, name string) {
			client := &http.Client{Transport: s.transport, Timeout: givenUp}
			s.do(client, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "client-timeout-wrapped", run: func(s *scene, name string) {
			client := &http.Client{Transport: s.outside(s.transport), Timeout: givenUp}
			sendOnly(client, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "deadline", run: func(s *scene, name string) {
			ctx, cancel := context.WithTimeout(context.Background(), givenUp)
			defer cancel()
			s.do(s.client, s.request(name, "GET", s.plain+"/#").WithContext(ctx))
		}},
		{name: "header-timeout", run: func(s *scene, name string) {
			client, end := own(&http.Transport{ResponseHeaderTimeout: givenUp})
			defer end()
			s.do(client, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "cancelled", run: func(s *scene, name string) { s.cancelled(name, s.client, s.plain) }},
		{name: "cancelled-before", run: func(s *scene, name string) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.do(s.client, s.request(name, "GET", s.plain+"/#").WithContext(ctx))
		}},
		{name: "refused", run: func(s *scene, name string) { s.send(name, "GET", "http://"+s.refused+"/#") }},
		{name: "unknown-host", run: func(s *scene, name string) {
			resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no name server here")
			}}
			client, end := own(&http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext})
			defer end()
			s.do(client, s.request(name, "GET", "http://nowhere.invalid/#"))
		}},
		{name: "dial-error", run: func(s *scene, name string) {
			client, end := own(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no way there")
			}})
			defer end()
			s.do(client, s.request(name, "GET", "http://shop.test/#"))
		}},
		{name: "reset", run: against(resets(""))},
		{name: "reset-in-headers", run: against(resets("HTTP/1.1 200 OK\r\nContent-Le"))},
		{name: "reset-in-body", run: against(resets("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))},
		{name: "closed", run: against(says(""))},
		{name: "malformed", run: against(says("what?\r\n\r\n"))},
		{name: "malformed-header", run: against(says("HTTP/1.1 200 OK\r\nthis is no header\r\n\r\n"))},
		{name: "tls-unknown-authority", run: func(s *scene, name string) {
			client, end := own(&http.Transport{})
			defer end()
			s.do(client, s.request(name, "GET", s.untrusted+"/#"))
		}},
		{name: "tls-wrong-name", run: func(s *scene, name string) {
			client, end := own(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: "other.test"}})
			defer end()
			s.do(client, s.request(name, "GET", s.secure+"/#"))
		}},
		{name: "tls-not-spoken", run: func(s *scene, name string) {
			s.send(name, "GET", strings.Replace(s.plain, "http:", "https:", 1)+"/#")
		}},
		{name: "unknown-scheme", run: func(s *scene, name string) { s.send(name, "GET", "gopher://shop.test/#") }},
		{name: "no-host", run: func(s *scene, name string) { s.send(name, "GET", "http:///#") }},
		{name: "bad-header", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			request.Header.Set("X-Bad", "a\nb")
			s.do(s.client, request)
		}},

		{name: "retry", run: retry},
		{name: "redirects", run: func(s *scene, name string) {
			third := s.address(name, s.plain+"/#")
			second := s.address(name, s.plain+"/#?status=302&to="+url.QueryEscape(third))
			first := s.address(name, s.plain+"/#?status=301&to="+url.QueryEscape(second))
			s.send(name, "GET", s.plain+"/#?status=302&to="+url.QueryEscape(first))
		}},
		{name: "redirects-beyond", run: func(s *scene, name string) {
			client := &http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return nil
			}}
			s.do(client, s.request(name, "GET", s.plain+"/#?hops=22"))
		}},
		{name: "redirect-307", run: func(s *scene, name string) {
			last := s.address(name, s.plain+"/#")
			s.do(s.client, s.post(name, s.plain+"/#?status=307&to="+url.QueryEscape(last)))
		}},
		{name: "redirect-refused", run: func(s *scene, name string) {
			client := &http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("stay")
			}}
			s.do(client, s.request(name, "GET", s.plain+"/#?status=302&to=/nowhere"))
		}},
		{name: "redirect-wrapped", run: func(s *scene, name string) {
			last := s.address(name, s.plain+"/#")
			client := &http.Client{Transport: s.outside(s.transport)}
			sendOnly(client, s.request(name, "GET", s.plain+"/#?status=302&to="+url.QueryEscape(last)))
		}},

		{name: "direct-concrete", run: func(s *scene, name string) {
			request := s.request(name, "GET", s.plain+"/#")
			call := witness.Call{}.Begin(request)
			response, err := s.transport.RoundTrip(request)
			s.truth.Write(call.Finish(response, err))
			drain(response)
		}},
		{name: "direct-interface", run: func(s *scene, name string) {
			s.roundTrip(s.transport, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "wrapped", run: func(s *scene, name string) {
			s.do(&http.Client{Transport: tagging{s.transport}}, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "wrapped-twice", run: func(s *scene, name string) {
			s.do(&http.Client{Transport: &trusting{tagging{s.transport}}}, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "wrapped-embedded", run: func(s *scene, name string) {
			s.do(&http.Client{Transport: tail{s.transport}}, s.request(name, "GET", s.plain+"/#"))
		}},
		{name: "wrapped-http2", run: func(s *scene, name string) {
			s.do(&http.Client{Transport: tagging{s.transport2}}, s.request(name, "GET", s.secure+"/#"))
		}},
		{name: "wrapped-refused", run: func(s *scene, name string) {
			s.do(&http.Client{Transport: &trusting{tagging{s.transport}}},
				s.request(name, "GET", "http://"+s.refused+"/#"))
		}},
		{name: "wrapper-asks-twice", run: func(s *scene, name string) {
			client := &http.Client{Transport: &trusting{s.outside(s.transport)}}
			sendOnly(client, s.request(name, "GET", s.plain+"/#?status=503"))
		}},
		{name: "wrapper-replaces-error", run: func(s *scene, name string) {
			inner := s.outside(s.transport)
			replacing := function(func(request *http.Request) (*http.Response, error) {
				if _, err := inner.RoundTrip(request); err != nil {
					return nil, &net.ParseError{Type: "another error", Text: "than the transport's"}
				}
				panic("it must be refused")
			})
			sendOnly(&http.Client{Transport: replacing}, s.request(name, "GET", "http://"+s.refused+"/#"))
		}},
		{name: "custom-transport", run: func(s *scene, name string) {
			sendOnly(&http.Client{Transport: function(invented)}, s.request(name, "GET", s.plain+"/#"))
		}},

		{name: "reverse-proxy", run: func(s *scene, name string) { s.incoming(name, s.reversed, s.plain, "") }},
		{name: "reverse-proxy-404", run: func(s *scene, name string) {
			s.incoming(name, s.reversed, s.plain, "?status=404")
		}},
		{name: "reverse-proxy-refused", run: func(s *scene, name string) {
			s.incoming(name, s.reversedNowhere, "http://"+s.refused, "")
		}},
		{name: "proxied", run: func(s *scene, name string) {
			s.through(name, s.forward, "http://shop.test/#")
		}},
		{name: "proxied-tls", run: func(s *scene, name string) {
			s.through(name, s.forward, s.secure+"/#")
		}},
		{name: "proxied-forbidden", run: func(s *scene, name string) {
			s.through(name, s.forward, "https://forbidden.test/#")
		}},
	}, further...)
}

func get(s *scene, name string)  { s.send(name, "GET", s.plain+"/#") }
func get2(s *scene, name string) { s.do(s.client2, s.request(name, "GET", s.secure+"/#")) }

func keepAlive(s *scene, name string) {
	for i := 0; i < 3; i++ {
		get(s, name)
	}
}

// retry has the second call find that its connection is dead, and send again on another.
func retry(s *scene, name string) {
	server, end := misbehaving(dies)
	defer end()
	client, close := own(&http.Transport{})
	defer close()
	for i := 0; i < 2; i++ {
		s.do(client, s.request(name, "GET", server+"/#"))
	}
}

// against calls a server that misbehaves.
func against(serve func(int, *net.TCPConn, func() bool)) func(*scene, string) {
	return func(s *scene, name string) {
		server, end := misbehaving(serve)
		defer end()
		client, close := own(&http.Transport{})
		defer close()
		s.do(client, s.request(name, "GET", server+"/#"))
	}
}
