// Command propagation sends requests in all the ways that matter to whoever adds a header to them.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	list                   prints the cases, one a line
//	run CASE ADDRESS       sends what belongs to a case to the server at that address, which shows what is on the wire
//	serve                  serves requests that are handed on, and prints its address (see relay.go)
//	load COUNT WORKERS URL sends COUNT requests, WORKERS at a time, and prints how many were not answered with 200
//
// and prints "done" after each. The path of a request is /CASE.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"lightfoot.example/commands"
)

func main() {
	path := flag.String("truth", "", "a file that stays empty: the server knows the truth")
	flag.Parse()
	if err := os.WriteFile(*path, nil, 0o644); err != nil {
		log.Fatal(err)
	}
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "run":
			find(words[1])(sender{name: words[1], address: words[2]})
		case "serve":
			fmt.Println(serve())
		case "load":
			fmt.Println(load(words.Number(1, 1), words.Number(2, 1), words[3]))
		default:
			return false
		}
		return true
	})
}

func find(name string) func(sender) {
	for _, c := range cases {
		if c.name == name {
			return c.run
		}
	}
	log.Fatalf("no case %q", name)
	return nil
}

// load sends requests with and without a body from many goroutines over kept connections, and counts those that fail.
func load(count, workers int, url string) (failed int64) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	work := make(chan int)
	var all sync.WaitGroup
	for i := 0; i < workers; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range work {
				body := ""
				if number%3 == 0 {
					body = strings.Repeat("x", number%6000)
				}
				request, err := http.NewRequest("POST", fmt.Sprintf("%s/load/%d", url, number), strings.NewReader(body))
				if err != nil {
					log.Fatal(err)
				}
				if number%5 == 0 {
					request.Header.Set("Traceparent", ours)
				}
				response, err := client.Do(request)
				if err != nil {
					log.Print(err)
					atomic.AddInt64(&failed, 1)
					continue
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 200 {
					log.Print(response.Status, err)
					atomic.AddInt64(&failed, 1)
				}
				response.Body.Close()
			}
		}()
	}
	for i := 0; i < count; i++ {
		work <- i
	}
	close(work)
	all.Wait()
	return failed
}
