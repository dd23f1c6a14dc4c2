// Command tracecontext serves what the conformance suite of W3C Trace Context asks a service for, and knows nothing of traces.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	serve serves, and prints its URL
//
// and prints "done" after each.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"lightfoot.example/callbacks"
	"lightfoot.example/commands"
)

func main() {
	path := flag.String("truth", "", "a file that stays empty: the suite knows the truth")
	flag.Parse()
	if err := os.WriteFile(*path, nil, 0o644); err != nil {
		log.Fatal(err)
	}
	commands.Obey(func(words commands.Command) bool {
		if words[0] != "serve" {
			return false
		}
		fmt.Println(callbacks.Serve(callbacks.Handler(http.DefaultClient)))
		return true
	})
}
