// Command gorilla serves by gorilla/mux and writes down what really happened, as package witness says.
package main

import (
	"context"
	"io"
	"net/http"
	"runtime"

	"github.com/gorilla/mux"
	"lightfoot.example/witness"
)

func main() {
	router := mux.NewRouter()
	router.Use(recovering, noting)
	router.HandleFunc("/plain/{number}", answer).Methods("GET")
	router.HandleFunc("/users/{id:[0-9]+}/files/{path:.*}", answer)
	inner := router.PathPrefix("/group").Subrouter().PathPrefix("/inner").Subrouter()
	inner.Use(copying)
	inner.HandleFunc("/{id}", answer).Methods("POST")
	router.Host("host.test").Path("/by-host/{number}").HandlerFunc(answer)
	router.PathPrefix("/prefix/").HandlerFunc(answer)
	router.HandleFunc("/status/{number}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})
	router.HandleFunc("/panic/{number}", func(http.ResponseWriter, *http.Request) { panic("asked to") })
	router.HandleFunc("/exit/{number}", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	router.Handle("/copied/{number}", copying(http.HandlerFunc(answer)))
	// It answers without a route, which is told all the same: as none.
	router.NotFoundHandler = http.NotFoundHandler()
	witness.Serve(router)
}

// noting runs only where a route matches.
func noting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if template, err := mux.CurrentRoute(r).GetPathTemplate(); err == nil {
			witness.Route(w, template)
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }

func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), w, w)))
	})
}

func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
