// Package streams serves HTTP/2 requests in every way in which they can go.
package streams

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"lightfoot.example/witness"
)

// Handler writes the truth about each request.
func Handler(log *witness.Log) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			noting := w.(*witness.Recorder)
			noting.Truth.Route, noting.Truth.OriginalRoute = pattern, pattern
			handler(w, r)
		})
	}
	handle("/plain/", body)
	handle("/status/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "status")) })
	handle("/silent/", func(http.ResponseWriter, *http.Request) {})
	handle("/echo/", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	handle("/hints/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	handle("/flush/", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.WriteHeader(http.StatusTeapot) // too late
		body(w, r)
	})
	handle("/events/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < 3; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	handle("/trailers/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
	})
	handle("/panic/", func(http.ResponseWriter, *http.Request) { panic("asked to") })
	handle("/panic-late/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.(http.Flusher).Flush()
		deeper(100)
	})
	handle("/panic-unsent/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted) // nobody will know
		panic("asked to")
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
	// The client leaves meanwhile.
	handle("/left/", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	handle("/left-late/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	handle("/grown/", func(w http.ResponseWriter, r *http.Request) {
		defer func() { recover() }()
		deeper(100)
	})
	handle("/copied/", body)
	return witness.Handler(log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/copied/") {
			r = r.WithContext(r.Context())
		}
		mux.ServeHTTP(w, r)
	}))
}

// body writes as many bytes as the query's size says, after as many milliseconds as its wait says.
func body(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(number(r, "wait")) * time.Millisecond)
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
