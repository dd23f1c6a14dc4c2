//go:build !go1.24

package main

import "net/http"

func h2c(http.Handler) string { return "" }
