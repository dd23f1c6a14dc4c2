// Observer stands in front of a server and writes down what passes: one JSON object for each request.
//
// It is a reverse proxy that changes neither requests nor responses beyond what every proxy must, or with -files a server
// of files. Nobody watches it.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"lightfoot.example/witness"
)

// Observation is what one request came to.
type Observation struct {
	Method string `json:"method"`
	// As it was sent, with the query.
	Target string `json:"target"`
	// HTTP's major version, between this and the server.
	Protocol int `json:"protocol"`
	// 0 if there was no answer.
	Status int `json:"status"`
	// The bytes of the answer's body, and whether it came to its end.
	Length   int64 `json:"length"`
	Complete bool  `json:"complete"`
	// In nanoseconds of CLOCK_BOOTTIME: when it came, and when the last of the answer went.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

type key struct{}

func main() {
	to := flag.String("to", "", "the URL of a server; of https nothing is verified")
	files := flag.String("files", "", "a folder to serve in place of a server's answers")
	path := flag.String("truth", "", "the file to write to")
	flag.Parse()
	answers := http.FileServer(http.Dir(*files))
	if *files == "" {
		server, err := url.Parse(*to)
		if err != nil {
			log.Fatal(err)
		}
		answers = proxy(server)
	}
	truth := witness.Open(*path, false)
	server := &http.Server{Handler: observe(truth, answers)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)
	fmt.Println("listening", listener.Addr())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	server.Shutdown(context.Background())
}

// observe writes down each request, whoever answers it.
func observe(truth *witness.Log, answers http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &Observation{Method: r.Method, Target: r.RequestURI, Start: witness.BootTime()}
		// Once an answer is written, net/http takes the request's body away: a proxy that is still about to find that
		// it has come to its end would break the answer off.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			log.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		defer func() {
			seen.End = witness.BootTime()
			// A client may leave when it has all that was announced, before the proxy knows that no more comes.
			if w.Header().Get("Content-Length") == strconv.FormatInt(seen.Length, 10) {
				seen.Complete = true
			}
			truth.Write(seen)
		}()
		answers.ServeHTTP(&recorder{w, seen}, r.WithContext(context.WithValue(r.Context(), key{}, seen)))
		// Not reached if the proxy has broken the answer off.
		seen.Complete = true
	})
}

func proxy(to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		},
		Transport: &http.Transport{
			// What the server compresses stays compressed.
			DisableCompression: true,
			ForceAttemptHTTP2:  true,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
		},
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			r.Request.Context().Value(key{}).(*Observation).Protocol = r.ProtoMajor
			return nil
		},
		ErrorLog: log.New(os.Stderr, "observer: ", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			r.Context().Value(key{}).(*Observation).Protocol = 0
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
}

// recorder counts what is written.
type recorder struct {
	http.ResponseWriter
	seen *Observation
}

func (r *recorder) WriteHeader(status int) {
	if _, has := r.Header()["Content-Type"]; !has {
		r.Header()["Content-Type"] = nil // else net/http would make one up
	}
	if status >= 200 {
		r.seen.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(bytes []byte) (int, error) {
	if r.seen.Status == 0 {
		r.seen.Status = http.StatusOK
	}
	written, err := r.ResponseWriter.Write(bytes)
	r.seen.Length += int64(written)
	return written, err
}

func (r *recorder) Unwrap() http.ResponseWriter {
	return r.ResponseWriter
}
