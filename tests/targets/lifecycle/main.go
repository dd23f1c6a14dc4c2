// Lifecycle is an HTTP server that goes through what happens to processes: it executes another program, rewrites its own
// code, ends in the midst of a request. On standard output it says "listening ADDRESS", then whom it runs as, then each
// signal that it gets.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port; port 0 picks a free one")
	code := flag.Int("exit-code", 0, "the exit code after SIGTERM")
	deaf := flag.Bool("deaf", false, "only say which signals came, and go on")
	delay := flag.Duration("delay", 0, "wait so long before listening")
	flag.Parse()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR2)
	time.Sleep(*delay)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	// In one write each: a reader may look at any time.
	fmt.Printf("listening %s\n", listener.Addr())
	fmt.Printf("user %d group %d name %s home %s\n", os.Getuid(), os.Getgid(), os.Getenv("USER"), os.Getenv("HOME"))
	go func() {
		for received := range signals {
			fmt.Printf("signal %d\n", received)
			if received == syscall.SIGTERM && !*deaf {
				os.Exit(*code)
			}
		}
	}()
	server := &http.Server{Handler: routes(), ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(server.Serve(listener))
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "fine") })
	// Answers its header at once, and ends with the connection.
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { select {} })
	mux.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		duration, _ := time.ParseDuration(r.FormValue("for"))
		time.Sleep(duration)
	})
	mux.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		err := syscall.Exec(r.FormValue("path"), os.Args, os.Environ())
		http.Error(w, err.Error(), http.StatusInternalServerError)
	})
	mux.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	mux.HandleFunc("/patch", func(w http.ResponseWriter, r *http.Request) {
		address, err := strconv.ParseUint(r.FormValue("address"), 16, 64)
		if err == nil {
			err = patch(uintptr(address))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// patch turns a byte of this program's code into a nop.
func patch(address uintptr) error {
	size := uintptr(os.Getpagesize())
	page := unsafe.Slice((*byte)(unsafe.Pointer(address&^(size-1))), size)
	const all = syscall.PROT_READ | syscall.PROT_WRITE | syscall.PROT_EXEC
	if err := syscall.Mprotect(page, all); err != nil {
		return err
	}
	page[address&(size-1)] = 0x90
	return syscall.Mprotect(page, syscall.PROT_READ|syscall.PROT_EXEC)
}
