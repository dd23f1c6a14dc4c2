// Command interfaces prints, for interfaces of many types, what the symbolizer must know of them: the address of the type
// that their itab names, and where calls return to. It serves itself on the loopback interface and ends.
//
// Each line is a kind, a hexadecimal address and a name. The kind main is the address of the function main, by which
// addresses of a position-independent program are brought back to those of its file.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"runtime"
	"unsafe"
)

// itab is internal/abi.ITab.
type itab struct {
	inter, typ uintptr
}

func line(kind string, address uintptr, name string) { fmt.Printf("%s %#x %s\n", kind, address, name) }

func main() {
	line("main", reflect.ValueOf(main).Pointer(), "main.main")
	for _, err := range failures() {
		table := *(**itab)(unsafe.Pointer(&err))
		line("error", table.typ, reflect.TypeOf(err).String())
	}
	for _, ctx := range contexts() {
		table := *(**itab)(unsafe.Pointer(&ctx))
		line("context", table.typ, reflect.TypeOf(ctx).String())
	}
	serve()
	call()
}

// serve prints the types of both kinds of ResponseWriter, as handlers get them.
func serve() {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		table := *(**itab)(unsafe.Pointer(&w))
		line("writer", table.typ, fmt.Sprint("HTTP/", r.ProtoMajor))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	get(server.Client(), server.URL)
	old := server.Client()
	transport := old.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.NextProtos = nil
	transport.ForceAttemptHTTP2 = false
	get(&http.Client{Transport: transport}, server.URL)
}

// spy is a transport that tells who calls it.
type spy struct{ name string }

//go:noinline
func (s *spy) RoundTrip(*http.Request) (*http.Response, error) {
	var callers [1]uintptr
	runtime.Callers(2, callers[:])
	line("caller", callers[0], s.name)
	return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
}

// passing only hands on.
type passing struct{ base http.RoundTripper }

//go:noinline
func (p *passing) RoundTrip(r *http.Request) (*http.Response, error) { return p.base.RoundTrip(r) }

// counting looks at the error.
type counting struct {
	base   http.RoundTripper
	failed int
}

//go:noinline
func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.base.RoundTrip(r)
	if err != nil {
		c.failed++
	}
	return response, err
}

// call prints where calls of RoundTrip return to.
func call() {
	get(&http.Client{Transport: &spy{"net/http.send"}}, "http://localhost/")
	get(&http.Client{Transport: &passing{&spy{"main.(*passing).RoundTrip"}}}, "http://localhost/")
	get(&http.Client{Transport: &counting{base: &spy{"main.(*counting).RoundTrip"}}}, "http://localhost/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "localhost"})
	proxy.Transport = &spy{"net/http/httputil.(*ReverseProxy).ServeHTTP"}
	proxy.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func get(client *http.Client, url string) {
	request, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	must(err)
	response, err := client.Do(request)
	must(err)
	_, err = io.Copy(io.Discard, response.Body)
	must(err)
	must(response.Body.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
