package main

import (
	"net/http"
	"unsafe"

	"lightfoot.example/garbage"
)

// Functions of net/http that nobody else may call.
type functions struct {
	// func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request)
	serve func(server *http.Server, w http.ResponseWriter, r *http.Request)
	// func (w *response) finishRequest()
	finish func(response unsafe.Pointer)
	// What tells that a ResponseWriter is a *response.
	itab unsafe.Pointer
}

// find looks for them.
func find(genuine http.ResponseWriter) functions {
	found := functions{itab: (*garbage.Iface)(unsafe.Pointer(&genuine)).Itab}
	serve := garbage.Function("net/http.serverHandler.ServeHTTP", http.Serve)
	finish := garbage.Function("net/http.(*response).finishRequest", http.Serve)
	found.serve = *(*func(*http.Server, http.ResponseWriter, *http.Request))(serve)
	found.finish = *(*func(unsafe.Pointer))(finish)
	return found
}

// writer is the ResponseWriter that net/http would make for a response at that address.
func (f functions) writer(response unsafe.Pointer) (w http.ResponseWriter) {
	*(*garbage.Iface)(unsafe.Pointer(&w)) = garbage.Iface{Itab: f.itab, Data: response}
	return w
}
