package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// load sends requests over HTTP/1 (nine of ten) and HTTP/2, on eight connections' worth of goroutines.
func load(plainURL, secureURL string, pool *x509.CertPool, requests int) error {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
	}}
	const workers = 8
	var group sync.WaitGroup
	failed := make(chan error, workers)
	for worker := 0; worker < workers; worker++ {
		worker := worker
		group.Add(1)
		go func() {
			defer group.Done()
			for i := worker; i < requests; i += workers {
				base := plainURL
				if i%10 == 9 {
					base = secureURL
				}
				if err := one(client, base, i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	group.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return err
	}
	return ended(plainURL)
}

// ended has a connection end while the server still runs: its end comes from within what serves the connection.
func ended(plainURL string) error {
	connection, err := net.Dial("tcp", strings.TrimPrefix(plainURL, "http://"))
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET /items/1 HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, connection)
	return err
}

func one(client *http.Client, base string, number int) error {
	var response *http.Response
	var err error
	want := http.StatusOK
	if number%4 == 3 {
		want = http.StatusCreated
		response, err = client.Post(fmt.Sprintf("%s/items/%d/x", base, number), "text/plain", strings.NewReader("body"))
	} else {
		response, err = client.Get(fmt.Sprintf("%s/items/%d", base, number))
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("request %d: status %d, want %d", number, response.StatusCode, want)
	}
	return nil
}
