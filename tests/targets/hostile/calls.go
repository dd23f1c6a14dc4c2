package main

import (
	"context"
	"net/http"
	"net/url"

	"lightfoot.example/garbage"
)

// calls are those of a client, each with something hostile.
func calls() (all []garbage.Case) {
	transport := &http.Transport{}
	add := func(name string, change func(r *http.Request)) {
		all = append(all, garbage.Case{Kind: "client", Name: name, Run: func() {
			r := &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "host.test", Path: "/hostile"}}
			change(r)
			garbage.Survive(func() { transport.RoundTrip(r) }) // refused at once, for it has no headers
		}})
	}
	for _, text := range garbage.Texts() {
		text := text
		add("method-"+text.Name, func(r *http.Request) { r.Method = text.Text })
		add("path-"+text.Name, func(r *http.Request) { r.URL.Path = text.Text })
		add("raw-path-"+text.Name, func(r *http.Request) { r.URL.RawPath = text.Text })
		add("opaque-"+text.Name, func(r *http.Request) { r.URL.Opaque = text.Text })
		add("query-"+text.Name, func(r *http.Request) { r.URL.RawQuery = text.Text })
		add("host-"+text.Name, func(r *http.Request) { r.URL.Host = text.Text })
		add("scheme-"+text.Name, func(r *http.Request) { r.URL.Scheme = text.Text })
	}
	for _, block := range garbage.Blocks() {
		block := block
		add("url-"+block.Name, func(r *http.Request) { r.URL = (*url.URL)(garbage.At(block.Address)) })
		add("redirect-"+block.Name, func(r *http.Request) { r.Response = (*http.Response)(garbage.At(block.Address)) })
	}
	add("redirect-of-itself", func(r *http.Request) { r.Response = &http.Response{Request: r} })
	for _, one := range garbage.Contexts() {
		one := one
		add("context-"+one.Name, func(r *http.Request) { *(*context.Context)(garbage.Field(r, "ctx")) = one.Context })
	}
	return all
}
