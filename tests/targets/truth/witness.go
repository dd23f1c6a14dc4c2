package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// truth is what one request was.
type truth struct {
	// Number is the header X-Number; clients give each request its own.
	Number int `json:"number"`
	// What came with the request, before anyone could change it.
	Method      string   `json:"method"`
	Target      string   `json:"target"`
	Host        string   `json:"host"`
	Peer        string   `json:"peer"`
	UserAgent   string   `json:"user_agent"`
	Minor       int      `json:"minor"`
	Traceparent []string `json:"traceparent"`
	Tracestate  []string `json:"tracestate"`
	// Parent is nil if Traceparent is not one valid value.
	Parent *parent `json:"parent"`
	// Status is the final status that was set, 0 if none was; Implicit says that no handler named it.
	Status   int  `json:"status"`
	Implicit bool `json:"implicit"`
	// Written is how many bytes of body the handler wrote.
	Written int64 `json:"written"`
	// Route is the pattern that the last ServeMux matched; OriginalRoute, the last one matched with the server's own
	// Request instead of a copy.
	Route         string `json:"route"`
	OriginalRoute string `json:"original_route"`
	// Panicked includes runtime.Goexit.
	Panicked bool `json:"panicked"`
	Hijacked bool `json:"hijacked"`
	// Start and End are those of the outermost handler, in nanoseconds of CLOCK_BOOTTIME.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// recorder notes what handlers make of the response.
type recorder struct {
	http.ResponseWriter
	truth    *truth
	original *http.Request
}

// witness writes the truth about each request to the file.
func witness(file io.Writer, next http.Handler) http.Handler {
	var mutex sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := bootTime()
		number, _ := strconv.Atoi(r.Header.Get("X-Number"))
		t := &truth{
			Number: number, Method: strings.Clone(r.Method), Target: strings.Clone(r.RequestURI),
			Host: strings.Clone(r.Host), Peer: strings.Clone(r.RemoteAddr), UserAgent: strings.Clone(r.UserAgent()),
			Minor: r.ProtoMinor, Traceparent: cloned(r.Header["Traceparent"]), Tracestate: cloned(r.Header["Tracestate"]),
			Panicked: true, Start: start,
		}
		t.Parent = parse(t.Traceparent)
		defer func() {
			// What net/http does after a handler that said nothing.
			if t.Status == 0 && !t.Panicked && !t.Hijacked {
				t.Status, t.Implicit = http.StatusOK, true
			}
			t.End = bootTime()
			line, err := json.Marshal(t)
			if err != nil {
				log.Fatal(err)
			}
			mutex.Lock()
			defer mutex.Unlock()
			if _, err := file.Write(append(line, '\n')); err != nil {
				log.Fatal(err)
			}
		}()
		gather(r)
		next.ServeHTTP(&recorder{w, t, r}, r)
		t.Panicked = false
	})
}

func (r *recorder) WriteHeader(status int) {
	// Informational responses may come before the final one; 101 is final.
	if r.truth.Status == 0 && !r.truth.Hijacked && (status >= 200 || status == 101) {
		r.truth.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(data []byte) (int, error) {
	r.implicit()
	n, err := r.ResponseWriter.Write(data)
	r.truth.Written += int64(n)
	return n, err
}

func (r *recorder) Flush() {
	r.implicit()
	r.ResponseWriter.(http.Flusher).Flush()
}

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	connection, buffer, err := r.ResponseWriter.(http.Hijacker).Hijack()
	r.truth.Hijacked = err == nil
	return connection, buffer, err
}

func (r *recorder) implicit() {
	if r.truth.Status == 0 {
		r.truth.Status, r.truth.Implicit = http.StatusOK, true
	}
}

// waiting holds those requests that have come of each group that is to be served at once.
var waiting struct {
	sync.Mutex
	groups map[string]*sync.WaitGroup
}

// gather waits until as many requests are being served as X-Gather says ("GROUP COUNT").
func gather(r *http.Request) {
	group, text, found := strings.Cut(r.Header.Get("X-Gather"), " ")
	if !found {
		return
	}
	waiting.Lock()
	if waiting.groups == nil {
		waiting.groups = map[string]*sync.WaitGroup{}
	}
	all := waiting.groups[group]
	if all == nil {
		count, _ := strconv.Atoi(text)
		all = &sync.WaitGroup{}
		all.Add(count)
		waiting.groups[group] = all
	}
	waiting.Unlock()
	all.Done()
	all.Wait()
}

func cloned(values []string) []string {
	clones := []string{}
	for _, value := range values {
		clones = append(clones, strings.Clone(value))
	}
	return clones
}

func bootTime() int64 {
	const clockBoottime = 7
	var time syscall.Timespec
	_, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&time)), 0)
	if failed != 0 {
		log.Fatal(failed)
	}
	return time.Nano()
}
