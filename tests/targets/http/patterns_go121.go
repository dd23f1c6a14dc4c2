//go:build !go1.22

package main

import (
	"fmt"
	"net/http"
	"strings"
)

// patterns registers a prefix: ServeMux has no wildcards before Go 1.22.
func patterns(mux *http.ServeMux) {
	mux.HandleFunc("/items/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			return
		}
		fmt.Fprintln(w, strings.TrimPrefix(r.URL.Path, "/items/"))
	})
}
