package witness

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
)

// Call is what one client call was: one request that a client sent, or tried to. A redirect is a call of its own.
type Call struct {
	Kind string `json:"kind"` // "call"
	// Case and Number are those of the path, /CASE/NUMBER.
	Case   string `json:"case"`
	Number int64  `json:"number"`
	Method string `json:"method"`
	// URL is the request's, as Go prints it: user information and query are there.
	URL string `json:"url"`
	// Status, Version ("1.1", "2") and Length (of the body, -1 if unknown) are the response's; 0 and "" if there was none.
	Status  int    `json:"status"`
	Version string `json:"version"`
	Length  int64  `json:"length"`
	// Error is the type of what the transport returned, as package reflect names it, and Text its text. Where the caller
	// of the transport replaces the error, both are those of the replacement, and Replaced says so.
	Error    string `json:"error"`
	Text     string `json:"text"`
	Replaced bool   `json:"replaced"`
	// Resend is how many redirects came before.
	Resend int `json:"resend"`
	// Parent is the number of the request or call whose span must be the parent, 0 for a root, and Rule says why:
	// "context", "goroutine" or "parent_goroutine". The last may be missed: then the span is a root.
	Parent int64  `json:"parent"`
	Rule   string `json:"rule"`
	// Cause is the number of the request on whose behalf the call was made, whatever can be known of that.
	Cause int64 `json:"cause"`
	// Start and End enclose the transport's RoundTrip, in nanoseconds of CLOCK_BOOTTIME.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

var numbers atomic.Int64

// Number is one that no request or call of this process has had.
func Number() int64 { return numbers.Add(1) }

// Place is what a path /CASE/NUMBER/... says.
func Place(path string) (name string, number int64) {
	parts := strings.SplitN(path, "/", 4)
	if len(parts) < 3 {
		return "", 0
	}
	number, _ = strconv.ParseInt(parts[2], 10, 64)
	return parts[1], number
}

// Begin notes a request that is about to be sent.
func (c Call) Begin(request *http.Request) Call {
	c.Kind, c.Method, c.URL, c.Length = "call", request.Method, "", -1
	if c.Method == "" {
		c.Method = http.MethodGet // which is what it stands for
	}
	c.URL = request.URL.String()
	c.Case, c.Number = Place(request.URL.Path)
	c.Start = BootTime()
	return c
}

// Finish notes what came of it.
func (c Call) Finish(response *http.Response, err error) Call {
	c.End = BootTime()
	if response != nil {
		c.Status, c.Length = response.StatusCode, response.ContentLength
		c.Version = strings.TrimPrefix(response.Proto, "HTTP/")
		if response.ProtoMajor == 2 {
			c.Version = "2"
		}
	}
	if err != nil {
		c.Error, c.Text = reflect.TypeOf(err).String(), err.Error()
	}
	return c
}

// Outside is a RoundTripper around another that writes the truth about each call.
type Outside struct {
	Next http.RoundTripper
	Log  *Log
	Call Call
}

func (o *Outside) RoundTrip(request *http.Request) (*http.Response, error) {
	call := o.Call
	for before := request.Response; before != nil; before = before.Request.Response {
		call.Resend++
	}
	call = call.Begin(request)
	response, err := o.Next.RoundTrip(request)
	o.Log.Write(call.Finish(response, err))
	return response, err
}

// Do sends a request by a client whose own call of its transport stays the only one between: the truth about each hop
// is told from where http.Client asks whether to follow a redirect.
func Do(log *Log, client *http.Client, request *http.Request, call Call) (*http.Response, error) {
	observed := *client
	follow := client.CheckRedirect
	call = call.Begin(request)
	observed.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if follow != nil {
			if err := follow(next, via); err != nil {
				return err
			}
		} else if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		log.Write(call.Finish(next.Response, nil))
		call.Resend++
		call = call.Begin(next)
		return nil
	}
	response, err := observed.Do(request)
	inner := err
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		inner = wrapped.Err
	}
	if response != nil {
		// A refused redirect comes with its response; the transport did its part.
		inner = nil
	}
	call = call.Finish(response, inner)
	call.Replaced = inner == http.ErrSchemeMismatch || strings.Contains(call.Text, "Client.Timeout exceeded")
	log.Write(call)
	return response, err
}
