//go:build !go1.22

package main

func patterns(handle func(pattern string)) {
	handle("/users/")
	handle("host.test/by-host/")
}
