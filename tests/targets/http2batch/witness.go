package main

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// truth is what one request was.
type truth struct {
	// Server is the name of the server.
	Server string `json:"server"`
	// What came with the request, before anyone could change it.
	Method      string   `json:"method"`
	Target      string   `json:"target"`
	Host        string   `json:"host"`
	Peer        string   `json:"peer"`
	UserAgent   string   `json:"user_agent"`
	Traceparent []string `json:"traceparent"`
	Tracestate  []string `json:"tracestate"`
	Encrypted   bool     `json:"encrypted"`
	// Status is the final status that was set, 0 if none was.
	Status int `json:"status"`
	// Written is how many bytes of body the handler wrote.
	Written int64 `json:"written"`
	// Route is the pattern that ServeMux matched, Copied says that it did so with a copy of the request.
	Route  string `json:"route"`
	Copied bool   `json:"copied"`
	// Panicked includes runtime.Goexit.
	Panicked bool `json:"panicked"`
	// Nanoseconds is how long the handler took.
	Nanoseconds int64 `json:"nanoseconds"`
}

var (
	mutex   sync.Mutex
	all     []*truth
	leaving = map[string]func(){}
)

// recorder notes what handlers make of the response.
type recorder struct {
	http.ResponseWriter
	truth    *truth
	original *http.Request
}

// witness notes the truth about each request to a server.
func witness(server string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		t := &truth{
			Server: server, Method: strings.Clone(r.Method), Target: strings.Clone(r.RequestURI), Host: strings.Clone(r.Host),
			Peer: strings.Clone(r.RemoteAddr), UserAgent: strings.Clone(r.UserAgent()),
			Traceparent: cloned(r.Header["Traceparent"]), Tracestate: cloned(r.Header["Tracestate"]),
			Encrypted: r.TLS != nil, Panicked: true,
		}
		mutex.Lock()
		all = append(all, t)
		leave := leaving[t.Target]
		mutex.Unlock()
		if leave != nil {
			leave()
		}
		defer func() { t.Nanoseconds = int64(time.Since(started)) }()
		next.ServeHTTP(&recorder{w, t, r}, r)
		t.Panicked = false
	})
}

// whenServed calls a function when a handler gets the request with this target.
func whenServed(target string, call func()) {
	mutex.Lock()
	defer mutex.Unlock()
	leaving[target] = call
}

func (r *recorder) WriteHeader(status int) {
	if r.truth.Status == 0 && status >= 200 {
		r.truth.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(data []byte) (int, error) {
	r.implicit()
	// What the client does not get, for it has left, counts as well.
	r.truth.Written += int64(len(data))
	return r.ResponseWriter.Write(data)
}

func (r *recorder) Flush() {
	r.implicit()
	r.ResponseWriter.(http.Flusher).Flush()
}

func (r *recorder) implicit() {
	if r.truth.Status == 0 {
		r.truth.Status = http.StatusOK
	}
}

func cloned(values []string) []string {
	clones := []string{}
	for _, value := range values {
		clones = append(clones, strings.Clone(value))
	}
	return clones
}
