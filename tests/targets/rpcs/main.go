// Package rpcs serves and calls by gRPC in every way there is and writes down what really happened: one JSON object a
// line for each call (Called) and for each call that a handler served (Handled), and the same of HTTP.
package rpcs

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"lightfoot.example/commands"
	"lightfoot.example/witness"
)

// Main is the whole of a program that writes to the file -truth.
//
// It prints "grpc ADDRESS", "handler ADDRESS" (the same served by net/http, without encryption), then "ready", and obeys
// lines of standard input until that ends:
//
//	list                      prints the cases, one a line
//	run CASE [COUNT]          makes the calls of a case, COUNT times one after the other
//	load COUNT WORKERS SEED   makes the calls of COUNT cases chosen at random among the quick ones, WORKERS at a time
//	crowd COUNT [STREAMS]     makes COUNT calls and STREAMS streams over one connection, all open at the same time
//	hold COUNT, release       makes COUNT calls and as many streams whose handlers wait; lets them go on, and waits for the end
//	call ADDRESS COUNT KIND   makes COUNT calls of a server that is not its own, one after the other and without truth;
//	                          KIND is unary, direct, stream, error, intercepted, retried, deadline, cancelled or panic (of
//	                          which the server dies)
//
// and prints "done" after each.
func Main() {
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	s := newScene(witness.Open(*path, true))
	fmt.Printf("grpc %s\nhandler %s\n", s.plain.target, s.overH2c.target)
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "list":
			for _, row := range rows() {
				fmt.Println(row.name)
			}
		case "run":
			row := find(words[1])
			for i := 0; i < words.Number(2, 1); i++ {
				s.started.forget()
				row.run(s, row.name)
			}
		case "load":
			s.load(words)
		case "crowd":
			s.gather(words.Number(1, 1), words.Number(2, 0))()
		case "hold":
			s.hold(words.Number(1, 1))
		case "release":
			s.release()
		case "call":
			callElsewhere(words)
		default:
			return false
		}
		s.truth.Flush()
		return true
	})
	// Handlers of calls that were cancelled may have come later.
	s.truth.Flush()
}

func (s *scene) load(command commands.Command) {
	quick := []row{}
	for _, row := range rows() {
		if row.quick {
			quick = append(quick, row)
		}
	}
	commands.AtRandom(command, quick, func(row row) { row.run(s, row.name) })
}

// gather makes calls and streams whose handlers wait for each other, and gives what waits for the end.
func (s *scene) gather(calls, streams int) (wait func()) {
	s.crowd = &barrier{}
	s.crowd.missing.Add(calls + streams)
	var all sync.WaitGroup
	all.Add(calls + streams)
	for i := 0; i < calls || i < streams; i++ {
		if i < calls {
			go func() {
				defer all.Done()
				s.unary("crowd", s.plain, call{do: "gather"})
			}()
		}
		if i < streams {
			go func() {
				defer all.Done()
				s.receiveAll("crowd", s.plain, "gather-and-send 1", 1)
			}()
		}
	}
	return all.Wait
}

var knowsContextErrors = sync.OnceValue(func() bool {
	minor, _ := strconv.Atoi(strings.Split(grpc.Version, ".")[1])
	return minor > 40
})
