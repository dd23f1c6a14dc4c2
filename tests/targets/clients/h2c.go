//go:build go1.24

package main

import (
	"net/http"
	"net/http/httptest"
)

// h2c starts a server of HTTP/2 without encryption, which net/http has since Go 1.24.
func h2c(handler http.Handler) string {
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	return start(server, false)
}

func init() {
	further = append(further, one{"h2c-get", func(s *scene, name string) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		client, end := own(transport)
		defer end()
		s.do(client, s.request(name, "GET", s.h2c+"/#"))
	}})
}
