package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"syscall"
	"unsafe"
)

// What is hostile in a request that is served, and in the response to it.
type change func(r *http.Request, response *unsafe.Pointer)

// requests are those that a server has, each with something hostile.
func requests(functions functions) (all []hostileCase) {
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	// All that is taken for a response may only be read, so whoever finishes one comes no further than its first step.
	plain := blocks()[len(places())]
	add := func(name string, change change) {
		all = append(all, hostileCase{"server", name, func() {
			response := at(plain.address)
			r := request("GET /hostile HTTP/1.1")
			change(r, &response)
			survive(func() { functions.serve(server, functions.writer(response), r) })
			survive(func() { functions.finish(response) })
		}})
	}
	of := func(change func(r *http.Request)) change {
		return func(r *http.Request, _ *unsafe.Pointer) { change(r) }
	}
	for _, text := range texts() {
		text := text
		add("method-"+text.name, of(func(r *http.Request) { r.Method = text.text }))
		add("target-"+text.name, of(func(r *http.Request) { r.RequestURI = text.text }))
		add("host-"+text.name, of(func(r *http.Request) { r.Host = text.text }))
		add("peer-"+text.name, of(func(r *http.Request) { r.RemoteAddr = text.text }))
		add("header-"+text.name, of(func(r *http.Request) {
			r.Header = http.Header{"User-Agent": {text.text}, "Traceparent": {text.text}, "Tracestate": {text.text}, "X-Asked": {text.text}}
		}))
		add("http2-"+text.name, of(func(r *http.Request) { r.ProtoMajor, r.Method, r.RequestURI = 2, text.text, text.text }))
		add("route-"+text.name, of(func(r *http.Request) {
			if pattern := field(r, "Pattern"); pattern != nil {
				*(*string)(pattern) = text.text
			}
		}))
		// Method and target are parts of one string.
		add("line-"+text.name, of(func(r *http.Request) {
			parts := (*[2]uintptr)(unsafe.Pointer(&text.text))
			r.Method, r.RequestURI = text.text, textAt(parts[0]+parts[1]+1, 1<<62)
		}))
	}
	line := "GET /" + nasty + " HTTP/1.1"
	add("line-of-escapes", of(func(r *http.Request) { r.Method, r.RequestURI = line[:3], line[4:len(line)-9] }))
	strange := nasty + " /x"
	add("method-of-escapes", of(func(r *http.Request) { r.Method, r.RequestURI = strange[:len(nasty)], strange[len(nasty)+1:] }))
	for _, block := range blocks() {
		block := block
		add("headers-"+block.name, of(func(r *http.Request) { *(*uintptr)(unsafe.Pointer(&r.Header)) = block.address }))
		add("values-"+block.name, of(func(r *http.Request) {
			values := []string{""}
			*(*[3]uintptr)(unsafe.Pointer(&values)) = [3]uintptr{block.address, 1 << 62, 1 << 62}
			r.Header = http.Header{"User-Agent": values, "Traceparent": values, "Tracestate": values, "X-Asked": values}
		}))
		add("response-"+block.name, func(_ *http.Request, response *unsafe.Pointer) { *response = at(block.address) })
		add("tls-"+block.name, of(func(r *http.Request) { r.TLS = (*tls.ConnectionState)(at(block.address)) }))
		if pat := field(request("GET / HTTP/1.1"), "pat"); pat != nil {
			add("pat-"+block.name, of(func(r *http.Request) { *(*uintptr)(field(r, "pat")) = block.address }))
		}
	}
	add("names-gone", of(func(r *http.Request) {
		r.Header = http.Header{}
		for _, name := range []string{"Traceparent", "Tracestate", "User-Agent", "X-Asked"} {
			memory := mapped(page)
			copy(memory, name)
			r.Header[unsafe.String(&memory[0], len(name))] = []string{"1"}
			protect(memory, syscall.PROT_NONE)
		}
	}))
	add("many-headers", of(func(r *http.Request) {
		for number := 0; number < 20_000; number++ {
			name := []byte("Traceparen?")
			name[10] = byte(number)
			r.Header[string(name)+string(rune(number))] = []string{nasty}
		}
	}))
	for _, one := range contexts() {
		one := one
		add("context-"+one.name, of(func(r *http.Request) { *(*context.Context)(field(r, "ctx")) = one.context }))
	}
	return all
}

// request is one as the server makes them, of its first line.
func request(line string) *http.Request {
	r := &http.Request{Method: line[:3], RequestURI: line[4 : len(line)-9], ProtoMajor: 1, ProtoMinor: 1}
	r.Host, r.RemoteAddr, r.Header = "host.test", "127.0.0.1:1", http.Header{}
	return r.WithContext(&ring{context.Background()})
}
