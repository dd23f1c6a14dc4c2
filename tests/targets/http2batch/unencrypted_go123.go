//go:build !go1.24

package main

import (
	"log"
	"net/http"
)

func allowUnencrypted(*http.Server) {
	log.Fatal("net/http cannot serve HTTP/2 without encryption before Go 1.24")
}
