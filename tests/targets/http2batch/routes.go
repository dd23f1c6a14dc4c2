package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// routes serves every way in which a request can go.
func routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			noting := w.(*recorder)
			noting.truth.Route, noting.truth.Copied = pattern, r != noting.original
			handler(w, r)
		})
	}
	handle("/plain/", body)
	handle("/copied/", body)
	handle("/moved/", body)
	handle("/silent/", func(http.ResponseWriter, *http.Request) {})
	handle("/status/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "status")) })
	handle("/hints/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	handle("/flush/", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.WriteHeader(http.StatusTeapot) // too late
		body(w, r)
	})
	handle("/events/", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 3; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	})
	handle("/trailers/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body(w, r)
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Other", "2")
	})
	handle("/panic/", func(http.ResponseWriter, *http.Request) { panic("asked to") })
	handle("/panic-late/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		deeper(100)
	})
	handle("/panic-recovered/", func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			recover()
			w.WriteHeader(http.StatusInternalServerError)
		}()
		deeper(100)
	})
	handle("/abort/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	handle("/exit/", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	handle("/left/", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		body(w, r)
	})
	handle("/dropped/", func(w http.ResponseWriter, r *http.Request) {
		w.(*recorder).original = nil
		drop()
	})
	patterns(func(pattern string) { handle(pattern, body) })
	return before(mux)
}

// before is what middleware does before ServeMux sees the request.
func before(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			w.WriteHeader(http.StatusForbidden)
			return
		case strings.HasPrefix(r.URL.Path, "/copied/"):
			r = r.WithContext(context.WithValue(r.Context(), w, w))
		case strings.HasPrefix(r.URL.Path, "/overwritten/"):
			overwrite(r)
		}
		mux.ServeHTTP(w, r)
	})
}

// overwrite spoils the request, and makes the memory of what stood there somebody else's.
func overwrite(r *http.Request) {
	r.Method, r.RequestURI, r.Host, r.RemoteAddr, r.Proto, r.ProtoMajor = "FAKE", "/fake", "fake", "fake", "fake", 1
	r.URL = &url.URL{Path: "/moved/", RawQuery: r.URL.RawQuery}
	for name := range r.Header {
		delete(r.Header, name)
	}
	runtime.GC()
	garbage := make([]string, 2000)
	for i := range garbage {
		garbage[i] = strings.Repeat("g", 1+i%200)
	}
	runtime.KeepAlive(garbage)
}

// drop makes the memory of what nobody needs any more that of other requests.
func drop() {
	runtime.GC()
	others := make([]*http.Request, 2000)
	for i := range others {
		others[i] = &http.Request{Method: "FAKE"}
		if pattern := reflect.ValueOf(others[i]).Elem().FieldByName("Pattern"); pattern.IsValid() { // since Go 1.23
			pattern.SetString("/fake")
		}
	}
	runtime.KeepAlive(others)
}

// body writes as many bytes as the query's size says.
func body(w http.ResponseWriter, r *http.Request) {
	if size := number(r, "size"); size > 0 {
		w.Write(make([]byte, size))
	}
}

func number(r *http.Request, name string) int {
	value, _ := strconv.Atoi(r.URL.Query().Get(name))
	return value
}

// deeper panics after the stack has grown and moved.
func deeper(levels int) byte {
	var frame [4096]byte
	if levels == 0 {
		panic("asked to")
	}
	frame[levels] = deeper(levels - 1)
	return frame[levels/2]
}
