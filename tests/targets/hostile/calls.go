package main

import (
	"context"
	"net/http"
	"net/url"
)

// calls are those of a client, each with something hostile.
func calls() (all []hostileCase) {
	transport := &http.Transport{}
	add := func(name string, change func(r *http.Request)) {
		all = append(all, hostileCase{"client", name, func() {
			r := &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "host.test", Path: "/hostile"}}
			change(r)
			survive(func() { transport.RoundTrip(r) }) // refused at once, for it has no headers
		}})
	}
	for _, text := range texts() {
		text := text
		add("method-"+text.name, func(r *http.Request) { r.Method = text.text })
		add("path-"+text.name, func(r *http.Request) { r.URL.Path = text.text })
		add("raw-path-"+text.name, func(r *http.Request) { r.URL.RawPath = text.text })
		add("opaque-"+text.name, func(r *http.Request) { r.URL.Opaque = text.text })
		add("query-"+text.name, func(r *http.Request) { r.URL.RawQuery = text.text })
		add("host-"+text.name, func(r *http.Request) { r.URL.Host = text.text })
		add("scheme-"+text.name, func(r *http.Request) { r.URL.Scheme = text.text })
	}
	for _, block := range blocks() {
		block := block
		add("url-"+block.name, func(r *http.Request) { r.URL = (*url.URL)(at(block.address)) })
		add("redirect-"+block.name, func(r *http.Request) { r.Response = (*http.Response)(at(block.address)) })
	}
	add("redirect-of-itself", func(r *http.Request) { r.Response = &http.Response{Request: r} })
	for _, one := range contexts() {
		one := one
		add("context-"+one.name, func(r *http.Request) { *(*context.Context)(field(r, "ctx")) = one.context })
	}
	return all
}
