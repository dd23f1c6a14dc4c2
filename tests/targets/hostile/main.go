// Hostile serves and calls by net/http and is, wherever a tracer looks, what no program should be: strings of a length that no
// memory has, pointers into nothing, maps of garbage, contexts that lead into themselves, names that would steer a terminal.
//
// It calls the functions of net/http that tracers watch by their addresses, with arguments of its own making, so that nothing else
// of net/http comes across these before. What then crashes is recovered from. Commands: "list" prints the cases, "run FROM TO" runs
// those from one to before another.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"

	"lightfoot.example/commands"
)

// Address checks of the garbage collector would end the program for pointers into nothing.
const lenient = "invalidptr=0"

func main() {
	if os.Getenv("GODEBUG") != lenient {
		// Not by its path, for its name may be hostile, too.
		err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GODEBUG="+lenient))
		panic(err)
	}
	debug.SetGCPercent(-1)
	// What makes it a server for whoever asks.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	genuine := make(chan http.ResponseWriter, 1)
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { genuine <- w })
	go http.Serve(listener, served)
	if _, err := http.Get("http://" + listener.Addr().String()); err != nil {
		panic(err)
	}
	functions := find(<-genuine)
	cases := append(requests(functions), calls()...)
	commands.Obey(func(command commands.Command) bool {
		switch command[0] {
		case "list":
			for number, one := range cases {
				fmt.Println(number, one.kind, one.name)
			}
		case "run":
			for _, one := range cases[command.Number(1, 0):command.Number(2, 0)] {
				done := make(chan struct{})
				// Each has a goroutine of its own: what one leaves behind is none of the next one's.
				go func(run func()) {
					defer close(done)
					run()
				}(one.run)
				<-done
			}
		default:
			return false
		}
		return true
	})
}

// A hostileCase is one request or call.
type hostileCase struct {
	// Who starts a span: "server" or "client".
	kind string
	name string
	run  func()
}

// survive runs what may crash, and goes on.
func survive(run func()) {
	defer func() { recover() }()
	debug.SetPanicOnFault(true)
	run()
}
