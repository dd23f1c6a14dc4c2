// Command http2batch serves HTTP/2 in every way there is, sends itself requests and writes down what really happened.
//
// Each line of its standard input is a batch of requests in JSON. They are sent, over one connection if the server allows,
// "done" is said, and the next line is read. When the input ends it prints one JSON object for each request that a handler
// got, and exits.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
)

// batch is what one line asks for.
type batch struct {
	// Server is one of bundled, configured, h2c, unencrypted, http1.
	Server string `json:"server"`
	// Upgrade makes the first request come over HTTP/1.1 with "Upgrade: h2c".
	Upgrade bool `json:"upgrade"`
	// AtOnce is how many requests may be on their way at a time.
	AtOnce   int       `json:"at_once"`
	Requests []request `json:"requests"`
}

// request is one to be sent.
type request struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Host    string      `json:"host"`
	Headers [][2]string `json:"headers"`
	// Leave makes the client reset the stream once the handler runs.
	Leave bool `json:"leave"`
}

func main() {
	log.SetFlags(0)
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	fmt.Println("ready")
	for input.Scan() {
		var asked batch
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		send(asked)
		fmt.Println("done")
	}
	mutex.Lock()
	defer mutex.Unlock()
	encoder := json.NewEncoder(os.Stdout)
	for _, t := range all {
		if err := encoder.Encode(t); err != nil {
			log.Fatal(err)
		}
	}
}

func send(asked batch) {
	address := serve(asked.Server)
	if asked.Upgrade {
		upgrade(address, asked.Requests)
		return
	}
	client := connect(address, asked.Server == "bundled" || asked.Server == "configured")
	defer client.CloseIdleConnections()
	// A client that has no connection yet would make one for each request.
	roundTrip(client, address, asked.Requests[0])
	var senders sync.WaitGroup
	requests := make(chan request)
	for i := 0; i < asked.AtOnce; i++ {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for r := range requests {
				roundTrip(client, address, r)
			}
		}()
	}
	for _, r := range asked.Requests[1:] {
		requests <- r
	}
	close(requests)
	senders.Wait()
}
