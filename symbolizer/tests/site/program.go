// A server with TLS and HTTP/2, a client and a reverse proxy: the code that Lightfoot probes, in one program.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: program CERTIFICATE KEY BACKEND")
		os.Exit(2)
	}
	backend, err := url.Parse(os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	http.Handle("/proxy", httputil.NewSingleHostReverseProxy(backend))
	http.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(backend.String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		io.Copy(w, response.Body)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServeTLS("127.0.0.1:0", os.Args[1], os.Args[2], nil))
}
