// Command xnet serves and calls by golang.org/x/net/http2 and writes down what really happened: one JSON object a line
// for each call and for each request that a handler got, to the file -truth.
//
// It prints "http1 URL" and "h2c URL" (one server, whose handler is h2c's: prior knowledge, upgrades and HTTP/1),
// "configured URL" (net/http's server after ConfigureServer), "bare URL" (ServeConn without a server of net/http), then
// "ready", and obeys lines of standard input until that ends:
//
//	list             prints the cases of calls, one a line
//	run CASE [COUNT] makes the calls of a case, COUNT times one after the other
//
// and prints "done" after each. Paths of calls are /CASE/NUMBER, and each NUMBER is used once.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"lightfoot.example/streams"
	"lightfoot.example/witness"
)

func main() {
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	truth := witness.Open(*path, false)
	served, calls := streams.Handler(truth), witness.Handler(truth, http.HandlerFunc(answer))
	s := newScene(truth, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/x-") {
			calls.ServeHTTP(w, r)
		} else {
			served.ServeHTTP(w, r)
		}
	}))
	fmt.Printf("http1 %s\nh2c %s\nconfigured %s\nbare %s\nready\n", s.h2c, s.h2c, s.configured, s.bare)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := append(strings.Fields(commands.Text()), "", "", "")
		switch words[0] {
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "run":
			count, err := strconv.Atoi(words[2])
			if err != nil {
				count = 1
			}
			for _, c := range cases {
				for i := 0; c.name == words[1] && i < count; i++ {
					c.run(s, c.name)
				}
			}
		default:
			log.Fatalf("what is %q?", commands.Text())
		}
		fmt.Println("done")
	}
}

// scene is everything that cases share.
type scene struct {
	truth *witness.Log
	// The servers' URLs, without a path.
	h2c, configured, bare string
	certificates          *httptest.Server
}

func newScene(truth *witness.Log, handler http.Handler) *scene {
	s := &scene{truth: truth}
	quiet := log.New(io.Discard, "", 0) // handlers panic on purpose

	// ConfigureServer comes before the server starts, as its documentation wants.
	configured := httptest.NewUnstartedServer(handler)
	configured.Config.ErrorLog = quiet
	configured.EnableHTTP2 = true
	if err := http2.ConfigureServer(configured.Config, &http2.Server{MaxConcurrentStreams: 1000}); err != nil {
		log.Fatal(err)
	}
	configured.TLS = configured.Config.TLSConfig
	configured.StartTLS()
	s.configured, s.certificates = configured.URL, configured

	both := httptest.NewUnstartedServer(h2c.NewHandler(handler, &http2.Server{MaxConcurrentStreams: 1000}))
	both.Config.ErrorLog = quiet
	both.Start()
	s.h2c = both.URL

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s.bare = "http://" + listener.Addr().String()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			base := &http.Server{ErrorLog: quiet}
			go (&http2.Server{MaxConcurrentStreams: 1000}).ServeConn(connection, &http2.ServeConnOpts{
				Handler: handler, BaseConfig: base,
			})
		}
	}()
	return s
}
