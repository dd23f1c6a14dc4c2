// Command clients sends HTTP requests in every way there is, to servers of its own, and writes down what really
// happened: one JSON object a line for each call and for each request that one of its servers got, to the file -truth.
//
// It prints "ready" once its servers listen and obeys lines of standard input until that ends:
//
//	list                    prints the cases, one a line
//	run CASE [COUNT]        makes the calls of a case, COUNT times one after the other
//	load COUNT WORKERS SEED makes the calls of COUNT cases chosen at random, WORKERS at a time
//	crowd COUNT             makes COUNT calls that are all open at the same time
//	call URL COUNT [KIND]   makes COUNT calls of a server that is not its own, one after the other and without truth; KIND
//	                        is what calls: client (http.Client, the default), direct (the transport's own RoundTrip),
//	                        wrapped (a RoundTripper around the transport) or http2 (a client that does not verify)
//	reverse URL             starts a ReverseProxy of such a server and prints its URL
//
// and prints "done" after each. Paths are /CASE/NUMBER, and each NUMBER is used once.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/url"
	"sync"

	"lightfoot.example/commands"
	"lightfoot.example/witness"
)

func main() {
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	truth := witness.Open(*path, true)
	s := newScene(truth)
	cases := all()
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "run":
			run := find(cases, words[1])
			for i := 0; i < words.Number(2, 1); i++ {
				run(s, words[1])
			}
		case "load":
			commands.AtRandom(words, cases, func(c one) { c.run(s, c.name) })
		case "call":
			call(s, words[1], words.Number(2, 1), words[3])
		case "reverse":
			to, err := url.Parse(words[1])
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(s.reverse(to))
		case "crowd":
			crowd(s, words.Number(1, 1))
		default:
			return false
		}
		truth.Flush()
		return true
	})
	// Handlers of calls that were cancelled may have come later.
	truth.Flush()
}

func find(cases []one, name string) func(*scene, string) {
	for _, c := range cases {
		if c.name == name {
			return c.run
		}
	}
	log.Fatalf("no case %q", name)
	return nil
}

// crowd makes calls that are answered only once all of them have come.
func crowd(s *scene, count int) {
	var all sync.WaitGroup
	group := fmt.Sprintf("%d %d", witness.Number(), count)
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			request := s.request("crowd", "GET", s.plain+"/crowd/#")
			request.Header.Set("X-Gather", group)
			s.do(s.client, request)
		}()
	}
	all.Wait()
}
