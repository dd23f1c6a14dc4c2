//go:build go1.22

package main

import "net/http"

// patterns are those with a method and a wildcard.
func patterns(handle func(string, http.HandlerFunc)) {
	handle("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.PathValue("id"))) })
}
