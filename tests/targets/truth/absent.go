//go:build go1.23

package main

import (
	"log"
	"net/http"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	// advisePageOut is MADV_PAGEOUT, which package syscall does not know (Linux 5.4).
	advisePageOut = 21
	// forgetFile is POSIX_FADV_DONTNEED (include/uapi/linux/fadvise.h).
	forgetFile = 4
)

func init() {
	leave := func(pattern string, protection int, take func(*os.File, []byte)) {
		absent = append(absent, spoiler{pattern, func(r *http.Request) {
			// Each has its own: the kernel pages nothing out that is mapped twice.
			file := fileOf(pattern)
			defer file.Close()
			page, err := syscall.Mmap(int(file.Fd()), 0, os.Getpagesize(), protection, syscall.MAP_PRIVATE)
			if err != nil {
				log.Fatal(err)
			}
			take(file, page)
			// It stays: whoever reads the route does so later.
			r.Pattern = unsafe.String(&page[0], len(pattern))
		}})
	}
	leave("/not-yet-there/", syscall.PROT_READ, func(*os.File, []byte) {})
	leave("/never-there/", syscall.PROT_NONE, func(*os.File, []byte) {})
	leave("/taken-away/", syscall.PROT_READ, func(_ *os.File, page []byte) {
		look(page)
		advise(page, syscall.MADV_DONTNEED)
	})
	leave("/paged-out/", syscall.PROT_READ, func(file *os.File, page []byte) {
		// Nor one that is not written yet.
		if err := file.Sync(); err != nil {
			log.Fatal(err)
		}
		look(page)
		advise(page, advisePageOut)
		// What the kernel has not sorted in yet, on another processor, is not paged out by this. Once nobody has it mapped, the
		// page of a file can be taken from wherever it is, but for the moment in which the kernel itself looks at it. Files in
		// memory alone stay there.
		for tries := 0; tries < 100; tries++ {
			advise(page, syscall.MADV_DONTNEED)
			if _, _, failed := syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, forgetFile, 0, 0); failed != 0 {
				log.Fatal(failed)
			}
			if !isPresent(page) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// isPresent is whether a page is in memory, mapped or not.
func isPresent(page []byte) bool {
	var present [1]byte
	address := uintptr(unsafe.Pointer(&page[0]))
	_, _, failed := syscall.Syscall(syscall.SYS_MINCORE, address, 1, uintptr(unsafe.Pointer(&present[0])))
	if failed != 0 {
		log.Fatal(failed)
	}
	return present[0]&1 != 0
}

// look has a page present.
func look(page []byte) {
	if page[0] != '/' {
		log.Fatal("the page does not begin with a route")
	}
}

func advise(page []byte, advice int) {
	if err := syscall.Madvise(page, advice); err != nil {
		log.Fatal(err)
	}
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
