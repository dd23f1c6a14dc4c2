package main

import (
	"crypto/tls"
	"log"
	"net/http"
)

// unverified speaks HTTP/2 to any server.
var unverified = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}

// call calls a server that is not among this program's own, so that what a call costs can be told from what an answer
// does.
func call(s *scene, server string, count int, kind string) {
	send := s.client.Do
	switch kind {
	case "direct":
		send = s.transport.RoundTrip
	case "wrapped":
		send = (&http.Client{Transport: tagging{s.transport}}).Do
	case "http2":
		send = (&http.Client{Transport: unverified}).Do
	}
	for i := 0; i < count; i++ {
		response, err := send(s.request("price", "GET", server+"/#"))
		if err != nil {
			log.Fatal(err)
		}
		drain(response)
	}
}
