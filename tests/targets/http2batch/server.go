package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

// addresses are those of the servers that run, by their names.
var addresses = map[string]string{}

// serve starts a server unless it runs, and returns where it listens.
func serve(name string) string {
	if addresses[name] != "" {
		return addresses[name]
	}
	handler := witness(name, routes())
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)} // handlers panic on purpose
	switch name {
	case "bundled": // that within net/http
		addresses[name] = overTLS(server)
	case "configured": // that of golang.org/x/net, which Go programs took before net/http had it, and to configure it
		if err := http2.ConfigureServer(server, &http2.Server{MaxConcurrentStreams: 1000}); err != nil {
			log.Fatal(err)
		}
		addresses[name] = overTLS(server)
	case "h2c": // that of golang.org/x/net without encryption
		server.Handler = h2c.NewHandler(handler, &http2.Server{MaxConcurrentStreams: 1000})
		addresses[name] = inTheOpen(server)
	case "http1": // no HTTP/2 at all
		addresses[name] = inTheOpen(server)
	case "unencrypted": // that within net/http without encryption, since Go 1.24
		allowUnencrypted(server)
		addresses[name] = inTheOpen(server)
	default:
		log.Fatal("no server ", name)
	}
	return addresses[name]
}

func overTLS(config *http.Server) string {
	server := httptest.NewUnstartedServer(config.Handler)
	server.Config = config
	server.TLS = config.TLSConfig
	server.EnableHTTP2 = true
	server.StartTLS()
	return server.Listener.Addr().String()
}

func inTheOpen(server *http.Server) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)
	return listener.Addr().String()
}
