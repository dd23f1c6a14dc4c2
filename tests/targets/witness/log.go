// Package witness writes down what really happened in a program, from outside of the libraries that are watched: one
// JSON object a line.
package witness

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Log is a file of truth.
type Log struct {
	mutex sync.Mutex
	file  *bufio.Writer
	// Buffered lines wait for Flush.
	buffered bool
}

// Open appends to the file at path.
func Open(path string, buffered bool) *Log {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	return &Log{file: bufio.NewWriterSize(file, 1<<20), buffered: buffered}
}

// Write adds a line.
func (l *Log) Write(truth any) {
	line, err := json.Marshal(truth)
	if err != nil {
		log.Fatal(err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		log.Fatal(err)
	}
	if !l.buffered {
		l.flush()
	}
}

// Flush makes all lines visible in the file.
func (l *Log) Flush() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.flush()
}

func (l *Log) flush() {
	if err := l.file.Flush(); err != nil {
		log.Fatal(err)
	}
}

// BootTime is in nanoseconds of CLOCK_BOOTTIME, the clock of the kernel's probes.
func BootTime() int64 {
	const clockBoottime = 7
	var time syscall.Timespec
	_, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&time)), 0)
	if failed != 0 {
		log.Fatal(failed)
	}
	return time.Nano()
}
