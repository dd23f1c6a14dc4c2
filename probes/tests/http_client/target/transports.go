package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"strconv"
	"strings"
)

type url = neturl.URL

// wrapper is a RoundTripper around another.
type wrapper struct{ next http.RoundTripper }

//go:noinline
func (w wrapper) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("wrapped: %w", err)
	}
	return response, nil
}

// called calls a transport in the place of net/http.send.
//
//go:noinline
func called(transport http.RoundTripper, request *http.Request) (*http.Response, error) {
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Header.Del("X-Unused")
	return response, nil
}

// direct does so where the compiler knows whose method it is, and inlines it.
//
//go:noinline
func direct(transport *http.Transport, request *http.Request) (*http.Response, error) {
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Header.Del("X-Unused")
	return response, nil
}

// codeError is an error that is no pointer.
type codeError struct{ code int }

func (e codeError) Error() string { return strconv.Itoa(e.code) }

// alternate serves schemes that the transport does not know, by host.
type alternate struct{}

func (alternate) RoundTrip(request *http.Request) (*http.Response, error) {
	host, rest, _ := strings.Cut(request.URL.Host, ".")
	switch host {
	case "text":
		length, _ := strconv.Atoi(rest)
		return nil, errors.New(strings.Repeat("e", length))
	case "code":
		return nil, codeError{7}
	case "nothing":
		return nil, nil
	case "both":
		return &http.Response{StatusCode: 200, ProtoMajor: 1}, errors.New("both")
	case "panic":
		panic("asked to")
	case "inner":
		return new(inner).RoundTrip(request)
	case "nest":
		if left, _ := strconv.Atoi(rest); left > 1 {
			send(client, context.Background(), "GET", fmt.Sprint("test://nest.", left-1))
		}
	}
	return &http.Response{
		StatusCode: 299, ProtoMajor: 3, ContentLength: 77, Body: http.NoBody, Request: request,
	}, nil
}

// inner stands in for a transport that another one may call.
type inner struct{ calls int }

//go:noinline
func (i *inner) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == "" {
		return nil, errors.New("no host")
	}
	i.calls++
	return &http.Response{StatusCode: 298, ProtoMajor: 2, Body: http.NoBody, Request: request}, nil
}
