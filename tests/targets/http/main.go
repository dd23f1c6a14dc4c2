// Command http is an HTTP server with its own client, built in every mode that the tests know.
//
// It serves HTTP/1 on -address and HTTP/1 and HTTP/2 over TLS on -tls-address, prints one line "http ADDRESS" and one
// line "https ADDRESS" once both listen, and runs until SIGTERM or SIGINT. With -requests it sends itself that many
// requests and exits: that is how profiles for profile-guided builds are made.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to serve HTTP")
	tlsAddress := flag.String("tls-address", "127.0.0.1:0", "where to serve HTTP over TLS")
	hijack := flag.Bool("hijack", false, "serve /hijack, whose handler takes the connection over")
	requests := flag.Int("requests", 0, "send this many requests to itself, then exit (0: serve until a signal)")
	cpuProfile := flag.String("cpu-profile", "", "write a CPU profile of the run to this file")
	flag.Parse()
	if err := run(*address, *tlsAddress, *hijack, *requests, *cpuProfile); err != nil {
		log.Fatal(err)
	}
}

func run(address, tlsAddress string, hijack bool, requests int, cpuProfile string) error {
	if cpuProfile != "" {
		file, err := os.Create(cpuProfile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	plain, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", tlsAddress)
	if err != nil {
		return err
	}
	certificate, pool, err := selfSigned()
	if err != nil {
		return err
	}
	plainURL, secureURL := "http://"+plain.Addr().String(), "https://"+secure.Addr().String()
	handler := routes(plainURL, hijack)
	quiet := log.New(io.Discard, "", 0) // handlers panic on purpose
	server := &http.Server{Handler: handler, ErrorLog: quiet}
	// Not the same server: whichever of Serve and ServeTLS runs first decides whether it speaks HTTP/2.
	secureServer := &http.Server{
		Handler:   handler,
		ErrorLog:  quiet,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(plain) }()
	go func() { failed <- secureServer.ServeTLS(secure, "", "") }()
	fmt.Printf("http %s\nhttps %s\n", plain.Addr(), secure.Addr())

	if requests > 0 {
		if err := load(plainURL, secureURL, pool, requests); err != nil {
			return err
		}
	} else {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		select {
		case err := <-failed:
			return err
		case <-stop:
		}
	}
	return errors.Join(server.Close(), secureServer.Close())
}
