package main

import (
	"io"
	"net/http"
	"strings"
)

// tagging is what many programs wrap a transport with: it copies the request and adds a header.
type tagging struct{ next http.RoundTripper }

func (t tagging) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-Tag", "1")
	return t.next.RoundTrip(request)
}

// trusting asks once more where the answer is 503.
type trusting struct{ next http.RoundTripper }

func (t *trusting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusServiceUnavailable {
		response.Body.Close()
		return t.next.RoundTrip(request)
	}
	return response, err
}

// tail returns what the next one returns without a frame of its own to speak of.
type tail struct{ http.RoundTripper }

// function is a RoundTripper that is a function.
type function func(*http.Request) (*http.Response, error)

func (f function) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// invented answers without net/http's transport.
func invented(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("invented")),
	}, nil
}
