// Command parents serves HTTP requests whose handlers call a client in every relation to the request that there is:
// with its context or without, on its goroutine or another's. It writes down what caused what: one JSON object a line
// for each request and for each call, to the file -truth.
//
// The requests come from its own connections and the calls go to a server of its own, both written by hand: the only
// code of net/http that runs is what serves the requests and what makes the calls.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	list                 prints the cases, one a line
//	run CASE [COUNT]     sends the requests of a case, COUNT times one after the other
//	chaos COUNT AT SEED  sends COUNT requests of cases chosen at random over AT connections, while memory is collected
//	crowd COUNT          sends COUNT requests that are all open at once
//	hold COUNT           sends COUNT requests of the case mid-life, whose handlers wait
//	release              lets them go on, and waits until they have ended
//
// and prints "done" after each. Paths are /CASE/NUMBER, for requests and for calls, and each NUMBER is used once.
package main

import (
	"flag"
	"fmt"

	"lightfoot.example/commands"
	"lightfoot.example/witness"
)

func main() {
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	truth := witness.Open(*path, true)
	p := newProgram(truth)
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "list":
			for _, c := range rows() {
				fmt.Println(c.name)
			}
		case "run":
			for i := 0; i < words.Number(2, 1); i++ {
				p.run(words[1])
			}
		case "chaos":
			p.chaos(words.Number(1, 1), words.Number(2, 1), int64(words.Number(3, 0)))
		case "crowd":
			p.crowd(words.Number(1, 1))
		case "hold":
			p.hold(words.Number(1, 1))
		case "release":
			p.release()
		default:
			return false
		}
		p.pending.Wait()
		truth.Flush()
		return true
	})
	// Handlers of calls that were cancelled may have come later.
	truth.Flush()
}
