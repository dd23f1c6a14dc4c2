//go:build go1.23

package main

import "net/http"

// matched is the pattern by which the request was routed: as net/http tells it, which it does since Go 1.23.
func matched(r *http.Request, registered string) string { return r.Pattern }
