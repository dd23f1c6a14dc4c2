package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"syscall"
	"unsafe"

	"lightfoot.example/garbage"
)

// What is hostile in a request that is served, and in the response to it.
type change func(r *http.Request, response *unsafe.Pointer)

// requests are those that a server has, each with something hostile.
func requests(functions functions) (all []garbage.Case) {
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	// All that is taken for a response may only be read, so whoever finishes one comes no further than its first step.
	plain := garbage.Zeros()
	add := func(name string, change change) {
		all = append(all, garbage.Case{Kind: "server", Name: name, Run: func() {
			response := garbage.At(plain.Address)
			r := request("GET /hostile HTTP/1.1")
			change(r, &response)
			garbage.Survive(func() { functions.serve(server, functions.writer(response), r) })
			garbage.Survive(func() { functions.finish(response) })
		}})
	}
	of := func(change func(r *http.Request)) change {
		return func(r *http.Request, _ *unsafe.Pointer) { change(r) }
	}
	for _, text := range garbage.Texts() {
		text := text
		add("method-"+text.Name, of(func(r *http.Request) { r.Method = text.Text }))
		add("target-"+text.Name, of(func(r *http.Request) { r.RequestURI = text.Text }))
		add("host-"+text.Name, of(func(r *http.Request) { r.Host = text.Text }))
		add("peer-"+text.Name, of(func(r *http.Request) { r.RemoteAddr = text.Text }))
		add("header-"+text.Name, of(func(r *http.Request) {
			r.Header = http.Header{"User-Agent": {text.Text}, "Traceparent": {text.Text}, "Tracestate": {text.Text}, "X-Asked": {text.Text}}
		}))
		add("http2-"+text.Name, of(func(r *http.Request) { r.ProtoMajor, r.Method, r.RequestURI = 2, text.Text, text.Text }))
		add("route-"+text.Name, of(func(r *http.Request) {
			if pattern := garbage.Field(r, "Pattern"); pattern != nil {
				*(*string)(pattern) = text.Text
			}
		}))
		// Method and target are parts of one string.
		add("line-"+text.Name, of(func(r *http.Request) {
			parts := (*[2]uintptr)(unsafe.Pointer(&text.Text))
			r.Method, r.RequestURI = text.Text, garbage.TextAt(parts[0]+parts[1]+1, 1<<62)
		}))
	}
	line := "GET /" + garbage.Nasty + " HTTP/1.1"
	add("line-of-escapes", of(func(r *http.Request) { r.Method, r.RequestURI = line[:3], line[4:len(line)-9] }))
	strange := garbage.Nasty + " /x"
	add("method-of-escapes", of(func(r *http.Request) {
		r.Method, r.RequestURI = strange[:len(garbage.Nasty)], strange[len(garbage.Nasty)+1:]
	}))
	for _, block := range garbage.Blocks() {
		block := block
		add("headers-"+block.Name, of(func(r *http.Request) { *(*uintptr)(unsafe.Pointer(&r.Header)) = block.Address }))
		add("values-"+block.Name, of(func(r *http.Request) {
			values := []string{""}
			*(*[3]uintptr)(unsafe.Pointer(&values)) = [3]uintptr{block.Address, 1 << 62, 1 << 62}
			r.Header = http.Header{"User-Agent": values, "Traceparent": values, "Tracestate": values, "X-Asked": values}
		}))
		add("response-"+block.Name, func(_ *http.Request, response *unsafe.Pointer) { *response = garbage.At(block.Address) })
		add("tls-"+block.Name, of(func(r *http.Request) { r.TLS = (*tls.ConnectionState)(garbage.At(block.Address)) }))
		if pat := garbage.Field(request("GET / HTTP/1.1"), "pat"); pat != nil {
			add("pat-"+block.Name, of(func(r *http.Request) { *(*uintptr)(garbage.Field(r, "pat")) = block.Address }))
		}
	}
	add("names-gone", of(func(r *http.Request) {
		r.Header = http.Header{}
		var names [][]byte
		for _, name := range []string{"Traceparent", "Tracestate", "User-Agent", "X-Asked"} {
			memory := garbage.Mapped(garbage.Page)
			copy(memory, name)
			r.Header[unsafe.String(&memory[0], len(name))] = []string{"1"}
			names = append(names, memory)
		}
		// Not before all are in: two whose hashes begin alike, as one pair in 256 does, are compared.
		for _, memory := range names {
			garbage.Protect(memory, syscall.PROT_NONE)
		}
	}))
	add("many-headers", of(func(r *http.Request) {
		for number := 0; number < 20_000; number++ {
			name := []byte("Traceparen?")
			name[10] = byte(number)
			r.Header[string(name)+string(rune(number))] = []string{garbage.Nasty}
		}
	}))
	for _, one := range garbage.Contexts() {
		one := one
		add("context-"+one.Name, of(func(r *http.Request) { *(*context.Context)(garbage.Field(r, "ctx")) = one.Context }))
	}
	return all
}

// request is one as the server makes them, of its first line.
func request(line string) *http.Request {
	r := &http.Request{Method: line[:3], RequestURI: line[4 : len(line)-9], ProtoMajor: 1, ProtoMinor: 1}
	r.Host, r.RemoteAddr, r.Header = "host.test", "127.0.0.1:1", http.Header{}
	return r.WithContext(&garbage.Ring{Context: context.Background()})
}
