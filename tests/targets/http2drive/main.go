// Command http2drive sends HTTP/2 requests to servers under test. Nobody watches it.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	list                       prints the cases, one a line
//	send URL CASE [COUNT]      sends the requests of a case to the server at URL (http: prior knowledge), COUNT times
//	copied URL                 sends a request that a middleware of the server copies
//	load URL COUNT AT CONNECTIONS  sends COUNT plain requests, AT at a time on each of CONNECTIONS connections
//	at-once URL COUNT          sends COUNT requests on one connection that the server answers once all have come
//
// prints one JSON object for what came of each request, and "done" after each. Paths are /WHAT/NUMBER, and each NUMBER
// is used once.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// seen is what came of a request.
type seen struct {
	Case   string `json:"case"`
	Number int64  `json:"number"`
	// Status is 0 if no response came.
	Status        int   `json:"status"`
	Informational []int `json:"informational"`
	// Body is how many bytes of it came, Complete whether the stream ended as it should.
	Body     int64             `json:"body"`
	Complete bool              `json:"complete"`
	Trailers map[string]string `json:"trailers"`
	Error    string            `json:"error"`
}

var (
	numbers atomic.Int64
	output  sync.Mutex
)

func (s seen) print() {
	line, err := json.Marshal(s)
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Printf("%s\n", line)
}

func main() {
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := append(strings.Fields(commands.Text()), "", "", "", "", "")
		number := func(i int) int {
			value, err := strconv.Atoi(words[i])
			if err != nil {
				value = 1
			}
			return value
		}
		switch words[0] {
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "send":
			for i := 0; i < number(3); i++ {
				send(words[1], words[2])
			}
		case "copied":
			c := simple("copied", request{what: "copied"})
			c.send(c, words[1])
		case "load":
			load(words[1], number(2), number(3), number(4))
		case "at-once":
			atOnce(words[1], number(2))
		default:
			log.Fatalf("what is %q?", commands.Text())
		}
		fmt.Println("done")
	}
}

func send(server, name string) {
	for _, c := range cases {
		if c.name == name {
			c.send(c, server)
			return
		}
	}
	log.Fatalf("no case %q", name)
}

func load(server string, count, at, connections int) {
	var sent atomic.Int64
	var all sync.WaitGroup
	for i := 0; i < connections; i++ {
		client := dial(server)
		defer client.close()
		for j := 0; j < at; j++ {
			all.Add(1)
			go func() {
				defer all.Done()
				for sent.Add(1) <= int64(count) {
					client.exchange(request{name: "load", what: "plain", query: "size=100"})
				}
			}()
		}
	}
	all.Wait()
}

func atOnce(server string, count int) {
	client := dial(server)
	defer client.close()
	group := fmt.Sprintf("%d %d", numbers.Add(1), count)
	var all sync.WaitGroup
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			client.exchange(request{name: "at-once", what: "plain", headers: http.Header{"X-Gather": {group}}})
		}()
	}
	all.Wait()
}
