package main

import (
	"net/http"
	"reflect"
	"runtime"
	"unsafe"
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

// An iface is what an interface with methods is made of.
type iface struct {
	itab, data unsafe.Pointer
}

// find looks for them from a function of net/http in both directions.
func find(genuine http.ResponseWriter) functions {
	found := functions{itab: (*iface)(unsafe.Pointer(&genuine)).itab}
	serve := entry("net/http.serverHandler.ServeHTTP")
	finish := entry("net/http.(*response).finishRequest")
	// A function's value is the address of a word that has its address.
	found.serve = *(*func(*http.Server, http.ResponseWriter, *http.Request))(unsafe.Pointer(&serve))
	found.finish = *(*func(unsafe.Pointer))(unsafe.Pointer(&finish))
	return found
}

func entry(name string) *uintptr {
	start := reflect.ValueOf(http.Serve).Pointer()
	for distance := uintptr(0); distance < 16<<20; distance += 16 {
		for _, pc := range []uintptr{start + distance, start - distance} {
			if function := runtime.FuncForPC(pc); function != nil && function.Name() == name {
				address := function.Entry()
				return &address
			}
		}
	}
	panic("there is no " + name)
}

// writer is the ResponseWriter that net/http would make for a response at that address.
func (f functions) writer(response unsafe.Pointer) (w http.ResponseWriter) {
	*(*iface)(unsafe.Pointer(&w)) = iface{f.itab, response}
	return w
}

// field is where an unexported field of a struct is, or nil if there is none of that name.
func field(of any, name string) unsafe.Pointer {
	value := reflect.ValueOf(of)
	found, ok := value.Type().Elem().FieldByName(name)
	if !ok {
		return nil
	}
	return unsafe.Add(value.UnsafePointer(), found.Offset)
}
