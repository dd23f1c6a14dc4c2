//go:build go1.23

package main

import (
	"log"
	"net/http"
	"os"
	"syscall"
	"unsafe"
)

func init() {
	leave := func(pattern string, protection int) {
		file := fileOf(pattern)
		absent = append(absent, spoiler{pattern, func(r *http.Request) {
			page, err := syscall.Mmap(int(file.Fd()), 0, os.Getpagesize(), protection, syscall.MAP_PRIVATE)
			if err != nil {
				log.Fatal(err)
			}
			// It stays: whoever reads the route does so later.
			r.Pattern = unsafe.String(&page[0], len(pattern))
		}})
	}
	leave("/not-yet-there/", syscall.PROT_READ)
	leave("/never-there/", syscall.PROT_NONE)
}

// fileOf is a file of one page that begins with a text.
func fileOf(text string) *os.File {
	file, err := os.CreateTemp("", "lightfoot")
	if err != nil {
		log.Fatal(err)
	}
	os.Remove(file.Name())
	page := make([]byte, os.Getpagesize())
	copy(page, text)
	if _, err := file.Write(page); err != nil {
		log.Fatal(err)
	}
	return file
}
