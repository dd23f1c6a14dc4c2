package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// routes serves every way a handler can end; self is where /proxy/ and /call lead back to.
func routes(self string, hijack bool) http.Handler {
	mux := http.NewServeMux()
	patterns(mux)
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	mux.HandleFunc("/missing", http.NotFound)
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("asked to") })
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) { call(w, r, self+"/hello") })
	mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) { call(w, r, "http://127.0.0.1:1/refused") })
	target, err := url.Parse(self)
	if err != nil {
		panic(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	mux.Handle("/proxy/", http.StripPrefix("/proxy", proxy))
	if hijack {
		mux.HandleFunc("/hijack", takeOver)
	}
	return withOwner(mux)
}

type ownerKey struct{}

// withOwner is a middleware that copies the request, as many do: what ServeMux learns lands on the copy.
func withOwner(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), ownerKey{}, os.Getpid())
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// call makes a client request in the context of the served one.
func call(w http.ResponseWriter, r *http.Request, to string) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, to, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	io.Copy(w, response.Body)
}

// takeOver answers by hand, so net/http never finishes this request.
func takeOver(w http.ResponseWriter, r *http.Request) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, errors.ErrUnsupported.Error(), http.StatusNotImplemented)
		return
	}
	connection, buffered, err := hijacker.Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	fmt.Fprint(buffered, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhijacked\n")
	buffered.Flush()
}
