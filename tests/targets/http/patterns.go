//go:build go1.22

package main

import (
	"fmt"
	"net/http"
)

// patterns registers routes with methods and wildcards, which ServeMux knows since Go 1.22.
func patterns(mux *http.ServeMux) {
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.PathValue("id"))
	})
	mux.HandleFunc("POST /items/{id}/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
	})
}
