// Package callbacks is the service that the conformance suite of W3C Trace Context asks for: it is told by each request whom to send
// what, and does it on behalf of that request.
package callbacks

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
)

// An errand is one of a request's list.
type errand struct {
	URL       string          `json:"url"`
	Arguments json.RawMessage `json:"arguments"`
}

// Serve has a handler answer the path "/", and returns the URL.
func Serve(handler http.Handler) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, handler)
	return "http://" + listener.Addr().String() + "/"
}

// Handler runs the errands of a request one after another, each by one request of the client.
func Handler(client *http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var errands []errand
		if err := json.NewDecoder(r.Body).Decode(&errands); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, errand := range errands {
			if err := errand.run(client, r); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "[]\n")
	})
}

func (e errand) run(client *http.Client, from *http.Request) error {
	request, err := http.NewRequestWithContext(from.Context(), "POST", e.URL, bytes.NewReader(e.Arguments))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
