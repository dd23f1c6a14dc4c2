package witness

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Request is what one served request was.
type Request struct {
	Kind string `json:"kind"` // "request"
	// Number is the header X-Number; clients give each request its own.
	Number int `json:"number"`
	// What came with the request, before anyone could change it.
	Method      string   `json:"method"`
	Target      string   `json:"target"`
	Host        string   `json:"host"`
	Peer        string   `json:"peer"`
	Local       string   `json:"local"`
	UserAgent   string   `json:"user_agent"`
	Major       int      `json:"major"`
	Minor       int      `json:"minor"`
	TLS         bool     `json:"tls"`
	Traceparent []string `json:"traceparent"`
	Tracestate  []string `json:"tracestate"`
	// Parent is nil if Traceparent is not one valid value.
	Parent *Parent `json:"parent"`
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

// Recorder notes what handlers make of the response.
type Recorder struct {
	http.ResponseWriter
	Truth *Request
	// Original is the server's own request.
	Original *http.Request
}

// Handler writes the truth about each request that next serves, once next has returned. The ResponseWriter that next
// gets is a *Recorder.
func Handler(log *Log, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := BootTime()
		number, _ := strconv.Atoi(r.Header.Get("X-Number"))
		t := &Request{
			Kind: "request", Number: number, Method: strings.Clone(r.Method), Target: strings.Clone(r.RequestURI),
			Host: strings.Clone(r.Host), Peer: strings.Clone(r.RemoteAddr), UserAgent: strings.Clone(r.UserAgent()),
			Local: local(r), Major: r.ProtoMajor, Minor: r.ProtoMinor, TLS: r.TLS != nil, Panicked: true, Start: start,
			Traceparent: cloned(r.Header["Traceparent"]), Tracestate: cloned(r.Header["Tracestate"]),
		}
		t.Parent = ParseTraceparent(t.Traceparent)
		defer func() {
			// What net/http does after a handler that said nothing.
			if t.Status == 0 && !t.Panicked && !t.Hijacked {
				t.Status, t.Implicit = http.StatusOK, true
			}
			t.End = BootTime()
			log.Write(t)
		}()
		gather(r)
		next.ServeHTTP(&Recorder{w, t, r}, r)
		t.Panicked = false
	})
}

func (r *Recorder) WriteHeader(status int) {
	// Informational responses may come before the final one; 101 is final.
	if r.Truth.Status == 0 && !r.Truth.Hijacked && (status >= 200 || status == 101) {
		r.Truth.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *Recorder) Write(data []byte) (int, error) {
	r.implicit()
	n, err := r.ResponseWriter.Write(data)
	r.Truth.Written += int64(n)
	return n, err
}

func (r *Recorder) Flush() {
	r.implicit()
	r.ResponseWriter.(http.Flusher).Flush()
}

func (r *Recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	connection, buffer, err := r.ResponseWriter.(http.Hijacker).Hijack()
	r.Truth.Hijacked = err == nil
	return connection, buffer, err
}

func (r *Recorder) implicit() {
	if r.Truth.Status == 0 {
		r.Truth.Status, r.Truth.Implicit = http.StatusOK, true
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

func local(r *http.Request) string {
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if address == nil {
		return ""
	}
	return address.String()
}
