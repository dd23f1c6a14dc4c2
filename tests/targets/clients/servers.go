package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lightfoot.example/witness"
)

// scene is everything that cases share.
type scene struct {
	truth *witness.Log
	// The servers' URLs, without a path. All have the same routes.
	plain, secure, plain6, h2c, untrusted string
	// reversed is a ReverseProxy of plain, reversedNowhere of a port that refuses.
	reversed, reversedNowhere string
	// forward is a proxy for clients; it knows CONNECT.
	forward string
	// refused is an address where nobody listens.
	refused string
	roots   *x509.CertPool

	// transport speaks HTTP/1, transport2 HTTP/2 over TLS; client and client2 use them.
	transport, transport2 *http.Transport
	client, client2       *http.Client
}

func newScene(truth *witness.Log) *scene {
	s := &scene{truth: truth}
	s.refused, _ = witness.Refused()
	routes := witness.Handler(truth, http.HandlerFunc(route))
	s.plain = start(httptest.NewUnstartedServer(routes), false)
	if listener, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		server := httptest.NewUnstartedServer(routes)
		server.Listener.Close()
		server.Listener = listener
		s.plain6 = start(server, false)
	} else {
		log.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(routes)
	secure.EnableHTTP2 = true
	s.secure = start(secure, true)
	s.roots = x509.NewCertPool()
	s.roots.AddCert(secure.Certificate())
	s.untrusted = start(httptest.NewUnstartedServer(routes), true)
	s.h2c = h2c(routes)
	backend, _ := url.Parse(s.plain)
	nowhere, _ := url.Parse("http://" + s.refused)
	s.transport = &http.Transport{MaxIdleConnsPerHost: 100}
	s.transport2 = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 100,
	}
	s.client, s.client2 = &http.Client{Transport: s.transport}, &http.Client{Transport: s.transport2}
	s.reversed = s.reverse(backend)
	s.reversedNowhere = s.reverse(nowhere)
	s.forward = start(httptest.NewUnstartedServer(witness.Handler(truth, http.HandlerFunc(s.proxy))), false)
	return s
}

// start gives the server's URL. Handlers panic and connections break on purpose: nothing is logged.
func start(server *httptest.Server, encrypted bool) string {
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if encrypted {
		server.StartTLS()
	} else {
		server.Start()
	}
	return server.URL
}

// reverse starts a proxy that passes requests on: its own calls are what is of interest.
func (s *scene) reverse(to *url.URL) string {
	proxy := &httputil.ReverseProxy{
		Transport: s.transport,
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
	}
	return start(httptest.NewUnstartedServer(witness.Handler(s.truth, proxy)), false)
}

// route answers as the first part of the path says: a status, or one of a few ways to behave.
func route(w http.ResponseWriter, r *http.Request) {
	name := strings.Split(r.URL.Path, "/")[1]
	if hops, err := strconv.Atoi(r.URL.Query().Get("hops")); err == nil && hops > 0 {
		http.Redirect(w, r, fmt.Sprintf("/%s/%d?hops=%d", name, witness.Number(), hops-1), http.StatusFound)
		return
	}
	if status, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
		}
		w.WriteHeader(status)
		return
	}
	switch strings.TrimPrefix(strings.TrimPrefix(name, "http2-"), "h2c-") {
	case "post", "expect-continue", "chunked":
		io.Copy(w, r.Body)
	case "early-hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Write([]byte("late"))
	case "upgraded":
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
			connection.Close()
		}
	case "client-timeout", "client-timeout-wrapped", "deadline", "cancelled", "header-timeout":
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	case "stream-reset":
		panic(http.ErrAbortHandler)
	case "cut-body":
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "crowd":
	default:
		w.Write([]byte("hello"))
	}
}

// proxy serves clients that have it as their proxy: absolute targets and CONNECT.
func (s *scene) proxy(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect && strings.HasPrefix(r.Host, "forbidden."):
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodConnect:
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			log.Fatal(err)
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			log.Fatal(err)
		}
		// Only now, so that nothing of the tunnel is read before it is one.
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
		here.Close()
	default:
		w.Write([]byte("from the proxy"))
	}
}
