// Command join serves HTTP and sends requests to others of its kind, in ways that matter to whoever tells which request was which call.
//
// It prints "plain URL" and "secure URL" of its servers, then "ready", and obeys lines of standard input until that ends:
//
//	load URL COUNT WORKERS FIRST [HOW]  makes COUNT calls, WORKERS at a time, and prints how many failed that should not
//
// over HTTP/1, or as HOW says: http2; crowd, over HTTP/2, of which none is answered before all have come; or wrapped, by connections that
// are not those of package net. It prints "done" after each. Paths are /KIND/NUMBER with numbers from FIRST on; the kind says how the server behaves.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lightfoot.example/commands"
)

// Each answers in another order of what the server ends and what the client gets. "late" is given up by the client.
var kinds = []string{"get", "get", "none", "none", "head", "flushed", "post", "a%20b", "late"}

// How many of a crowd have come and are answered, and whether all have come.
var (
	crowd    int64
	answered int64
	gathered = make(chan struct{})
)

func main() {
	flag.String("truth", "", "there is none: paths have numbers")
	flag.Parse()
	fmt.Println("plain", start(false))
	fmt.Println("secure", start(true))
	commands.Obey(func(words commands.Command) bool {
		if words[0] != "load" {
			return false
		}
		fmt.Println(load(words[1], words.Number(2, 1), words.Number(3, 1), words.Number(4, 0), words[5]))
		return true
	})
}

func start(encrypted bool) string {
	server := httptest.NewUnstartedServer(http.HandlerFunc(serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if !encrypted {
		server.Start()
		return server.URL
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	return server.URL
}

func serve(w http.ResponseWriter, r *http.Request) {
	switch strings.Split(r.URL.Path, "/")[1] {
	case "none":
		w.WriteHeader(http.StatusNoContent)
	case "post":
		io.Copy(w, r.Body)
	case "flushed":
		w.Write([]byte("first"))
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
		w.Write([]byte("second"))
	case "crowd":
		var all int64
		fmt.Sscan(r.Header.Get("Crowd"), &all)
		if atomic.AddInt64(&crowd, 1) == all {
			close(gathered)
		}
		<-gathered
		// Not all at once: an agent prints no more than it can.
		time.Sleep(time.Duration(atomic.AddInt64(&answered, 1)) * time.Millisecond)
	case "late":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	default:
		w.Write([]byte("hello"))
	}
}

func load(url string, count, workers, first int, how string) int64 {
	transport := &http.Transport{
		// Fewer than workers: connections are new, idle and waited for.
		MaxIdleConnsPerHost: workers/2 + 1,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:   how == "http2" || how == "crowd",
	}
	if how == "wrapped" {
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return struct{ net.Conn }{connection}, err
		}
	}
	defer transport.CloseIdleConnections()
	client, numbers := &http.Client{Transport: transport}, make(chan int)
	var failed int64
	var all sync.WaitGroup
	for i := 0; i < workers; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range numbers {
				kind := kinds[number%len(kinds)]
				if how == "crowd" {
					kind = how
				}
				if err := call(client, kind, fmt.Sprintf("%s/%s/%d", url, kind, number), count); err != nil && kind != "late" {
					log.Print(err)
					atomic.AddInt64(&failed, 1)
				}
			}
		}()
	}
	for i := 0; i < count; i++ {
		numbers <- first + i
	}
	close(numbers)
	all.Wait()
	return failed
}

func call(client *http.Client, kind, url string, count int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	method, body := "GET", io.Reader(nil)
	switch kind {
	case "head":
		method = "HEAD"
	case "post":
		method, body = "POST", strings.NewReader("a body")
	case "late":
		// Long enough that the server has begun.
		ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
	}
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if kind == "crowd" {
		request.Header.Set("Crowd", fmt.Sprint(count))
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
