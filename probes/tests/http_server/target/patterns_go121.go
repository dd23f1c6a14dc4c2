//go:build !go1.22

package main

import "net/http"

func patterns(handle func(string, http.HandlerFunc)) {
	handle("/users/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.URL.Path[7:])) })
}
