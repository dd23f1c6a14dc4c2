// Command connect serves and calls by connect, with no other protocol than Connect's own for its clients. Package main of
// folder connectgrpc calls by the others.
//
// It prints "server URL", and obeys "run CASE", which makes the calls of a case, and "facts", which does nothing. After each it
// prints a line of JSON for each side of each call that has really happened since, as it saw it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"connectrpc.com/connect"
	"lightfoot.example/commands"
)

// A fact is one side of a call.
type fact struct {
	Side      string `json:"side"`
	Procedure string `json:"procedure"`
	// Protocol is what connect calls it: connect, grpc, grpcweb.
	Protocol string `json:"protocol"`
	// Code is empty without an error.
	Code string `json:"code"`
}

var (
	facts     []fact
	factsLock sync.Mutex
)

func note(side, procedure, protocol string, err error) {
	said := fact{Side: side, Procedure: procedure, Protocol: protocol}
	if err != nil {
		said.Code = connect.CodeOf(err).String()
	}
	factsLock.Lock()
	defer factsLock.Unlock()
	facts = append(facts, said)
}

func main() {
	truth := flag.String("truth", os.DevNull, "a file that stays empty, for the truth is printed")
	flag.Parse()
	if err := os.WriteFile(*truth, nil, 0o600); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handler(), Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { log.Fatal(server.Serve(listener)) }()
	url := "http://" + listener.Addr().String()
	fmt.Printf("server %s\n", url)
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "run":
			if err := run(url, words[1]); err != nil {
				log.Fatal(words[1], ": ", err)
			}
		case "facts":
		default:
			return false
		}
		factsLock.Lock()
		for _, said := range facts {
			line, err := json.Marshal(said)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(string(line))
		}
		facts = nil
		factsLock.Unlock()
		return true
	})
}

var errNoSuchCase = errors.New("no such case")
