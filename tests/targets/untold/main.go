// Untold becomes the command that it is given, which the kernel then refuses raw tracepoints, as a seccomp filter may: nobody tells it
// what processes do.
package main

import (
	"log"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// linux/prctl.h, linux/seccomp.h, linux/bpf.h
const (
	setSeccomp       = 22
	setNoNewPrivs    = 38
	filterMode       = 2
	errno            = 0x00050000
	allow            = 0x7fff0000
	rawTracepoint    = 17
	offsetOfNumber   = 0
	offsetOfArgument = 16
)

func main() {
	load := func(offset uint32) syscall.SockFilter {
		return syscall.SockFilter{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) syscall.SockFilter {
		return syscall.SockFilter{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: skip, K: value}
	}
	answer := func(value uint32) syscall.SockFilter {
		return syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: value}
	}
	filter := []syscall.SockFilter{
		load(offsetOfNumber),
		unless(bpf, 3),
		load(offsetOfArgument),
		unless(rawTracepoint, 1),
		answer(errno | uint32(syscall.EPERM)),
		answer(allow),
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// It holds for this thread, which becomes the command.
	runtime.LockOSThread()
	prctl(setNoNewPrivs, 1, 0)
	prctl(setSeccomp, filterMode, uintptr(unsafe.Pointer(&program)))
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(syscall.Exec(path, os.Args[1:], os.Environ()))
}

func prctl(option, argument, pointer uintptr) {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, argument, pointer, 0, 0, 0); errno != 0 {
		log.Fatal(errno)
	}
}
