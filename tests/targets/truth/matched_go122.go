//go:build !go1.23

package main

import "net/http"

// matched is the pattern by which the request was routed: what was registered with the handler that runs.
func matched(r *http.Request, registered string) string { return registered }
