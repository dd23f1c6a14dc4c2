package garbage

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"lightfoot.example/commands"
)

// Address checks of the garbage collector would end the program for pointers into nothing.
const lenient = "invalidptr=0"

// A Case is one request or call.
type Case struct {
	// Who starts spans: "server", "client" or "both".
	Kind string
	Name string
	Run  func()
}

// Tolerate has the program start anew, if need be, so that nothing minds the garbage.
func Tolerate() {
	if os.Getenv("GODEBUG") != lenient {
		// Not by its path, for its name may be hostile, too.
		err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GODEBUG="+lenient))
		panic(err)
	}
	debug.SetGCPercent(-1)
}

// Obey follows commands: "list" prints the cases, "run FROM TO" runs those from one to before another.
func Obey(cases []Case) {
	commands.Obey(func(command commands.Command) bool {
		switch command[0] {
		case "list":
			for number, one := range cases {
				fmt.Println(number, one.Kind, one.Name)
			}
		case "run":
			for _, one := range cases[command.Number(1, 0):command.Number(2, 0)] {
				done := make(chan struct{})
				// Each has a goroutine of its own: what one leaves behind is none of the next one's.
				go func(run func()) {
					defer close(done)
					run()
				}(one.Run)
				<-done
			}
		default:
			return false
		}
		return true
	})
}

// Survive runs what may crash, and goes on.
func Survive(run func()) {
	defer func() { recover() }()
	debug.SetPanicOnFault(true)
	run()
}
