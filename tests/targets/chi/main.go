// Command chi serves by chi's router and writes down what really happened, as package witness says.
package main

import (
	"context"
	"io"
	"net/http"
	"runtime"

	"github.com/go-chi/chi/v5"
	"lightfoot.example/witness"
)

func main() {
	router := chi.NewRouter()
	router.Use(recovering)
	router.Get("/plain/{number}", answer)
	router.Get("/users/{id:[0-9]+}/files/*", answer)
	router.Route("/group", func(router chi.Router) {
		router.Use(copying)
		router.Route("/inner", func(router chi.Router) { router.Post("/{id}", answer) })
	})
	nest(router, 9)
	mounted := chi.NewRouter()
	mounted.Get("/{id}", answer)
	router.Mount("/mounted", mounted)
	router.Get("/status/{number}", func(w http.ResponseWriter, r *http.Request) {
		note(w, r)
		w.WriteHeader(http.StatusTeapot)
	})
	router.Get("/panic/{number}", func(w http.ResponseWriter, r *http.Request) {
		note(w, r)
		panic("asked to")
	})
	router.Get("/exit/{number}", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	router.With(copying).Get("/copied/{number}", answer)
	witness.Serve(router)
}

// nest puts routers into each other.
func nest(router chi.Router, levels int) {
	if levels == 0 {
		router.Get("/{id}", answer)
		return
	}
	router.Route("/deep", func(inner chi.Router) { nest(inner, levels-1) })
}

func note(w http.ResponseWriter, r *http.Request) {
	witness.Route(w, chi.RouteContext(r.Context()).RoutePattern())
}

func answer(w http.ResponseWriter, r *http.Request) {
	note(w, r)
	io.WriteString(w, "hello")
}

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
