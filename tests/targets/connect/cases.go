package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// run makes the calls of a case.
func run(url, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code := strings.ReplaceAll(strings.TrimPrefix(name, "says-"), "-", "_")
	switch name {
	case "unary":
		return unary(ctx, url+service+"Get", "hello")
	case "json":
		return unary(ctx, url+service+"Get", "hello", connect.WithProtoJSON())
	case "empty":
		return unary(ctx, url+service+"Get", "")
	case "get":
		return unary(ctx, url+service+"Get", "hello", connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	case "compressed":
		return unary(ctx, url+service+"Get", strings.Repeat("hello", 1000), connect.WithSendGzip())
	case "mounted":
		return unary(ctx, url+"/api"+service+"Get", "hello")
	case "unknown-method":
		return unary(ctx, url+service+"Nothing", "hello")
	case "unknown-service":
		return unary(ctx, url+"/shop.v1.Nowhere/Get", "hello")
	case "middleware":
		return unary(ctx, url+"/refusing"+service+"Get", "hello")
	case "panic":
		return unary(ctx, url+service+"Get", "panic")
	case "refused":
		return unary(ctx, "http://127.0.0.1:1"+service+"Get", "hello")
	case "server-stream":
		return serverStream(ctx, url, "hello")
	case "server-stream-error":
		return serverStream(ctx, url, "aborted")
	case "client-stream":
		return clientStream(ctx, url)
	case "both-streams":
		return bothStreams(ctx, url)
	case "json-alone":
		return post(ctx, url+service+"Get", `"hello"`)
	case "no-call":
		return post(ctx, url+"/plain.v1.Items/Add", "{}")
	}
	if code == name {
		return errNoSuchCase
	}
	return unary(ctx, url+service+"Get", code)
}

// unary makes a call whose error, if it has one, is part of the truth.
func unary(ctx context.Context, url, value string, options ...connect.ClientOption) error {
	client := connect.NewClient[message, message](http.DefaultClient, url, options...)
	_, err := client.CallUnary(ctx, connect.NewRequest(&message{Value: value}))
	called(url, err)
	return nil
}

func serverStream(ctx context.Context, url, value string) error {
	client := connect.NewClient[message, message](http.DefaultClient, url+service+"List")
	stream, err := client.CallServerStream(ctx, connect.NewRequest(&message{Value: value}))
	if err != nil {
		return err
	}
	for stream.Receive() {
	}
	called(url+service+"List", stream.Err())
	return stream.Close()
}

func clientStream(ctx context.Context, url string) error {
	stream := connect.NewClient[message, message](http.DefaultClient, url+service+"Put").CallClientStream(ctx)
	for range 3 {
		if err := stream.Send(&message{Value: "hello"}); err != nil {
			return err
		}
	}
	_, err := stream.CloseAndReceive()
	called(url+service+"Put", err)
	return nil
}

func bothStreams(ctx context.Context, url string) error {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	stream := connect.NewClient[message, message](&http.Client{Transport: transport}, url+service+"Talk").CallBidiStream(ctx)
	if err := stream.Send(&message{Value: "hello"}); err != nil {
		return err
	}
	if _, err := stream.Receive(); err != nil {
		return err
	}
	if err := stream.CloseRequest(); err != nil {
		return err
	}
	_, err := stream.Receive()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	called(url+service+"Talk", err)
	return stream.CloseResponse()
}

// post sends JSON as anybody may.
func post(ctx context.Context, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the status is %s", response.Status)
	}
	return nil
}

// called notes the client's side of a call.
func called(url string, err error) {
	parts := strings.Split(url, "/")
	note("client", "/"+strings.Join(parts[len(parts)-2:], "/"), connect.ProtocolConnect, err)
}
