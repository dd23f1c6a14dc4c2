//go:build go1.24

package main

import (
	"net/http"
	"net/http/httptest"
)

// cleartext serves HTTP/2 without encryption, which net/http knows since Go 1.24.
func cleartext(handler http.Handler) {
	start("cleartext", handler, func(server *httptest.Server) {
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetHTTP1(true)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	})
}
