//go:build go1.22

package main

// patterns are those with methods and wildcards, which ServeMux knows since Go 1.22.
func patterns(handle func(pattern string)) {
	handle("GET /users/{id}")
	handle("host.test/by-host/{$}")
}
