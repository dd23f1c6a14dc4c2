package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

type failure[T any] struct{ value T }

func (f failure[T]) Error() string { return fmt.Sprint(f.value) }

type number int

func (n number) Error() string { return "number" }

type lines []string

func (l lines) Error() string { return "lines" }

// failures are errors of many kinds of types.
func failures() []error {
	type local struct{ error }
	_, notANumber := strconv.Atoi("x")
	_, noFile := os.Open("/does/not/exist")
	divided := func() (err error) {
		defer func() { err = recover().(error) }()
		var none []int
		return number(none[len(os.Args)])
	}()
	return []error{
		errors.New("text"),
		fmt.Errorf("wrapped: %w", io.EOF),
		errors.Join(io.EOF, io.EOF),
		context.DeadlineExceeded,
		context.Canceled,
		&net.OpError{},
		&net.DNSError{},
		&url.Error{},
		x509.UnknownAuthorityError{},
		&json.SyntaxError{},
		syscall.ECONNREFUSED,
		notANumber,
		noFile,
		divided,
		number(1),
		lines{"a"},
		failure[int]{1},
		&failure[map[string]*url.URL]{},
		local{io.EOF},
		struct{ error }{io.EOF},
		&struct{ error }{io.EOF},
	}
}

type embedding struct {
	number int
	context.Context
}

type pointing struct {
	number int
	*embedding
}

type named struct{ parent context.Context }

func (n named) Deadline() (time.Time, bool) { return n.parent.Deadline() }
func (n named) Done() <-chan struct{}       { return n.parent.Done() }
func (n named) Err() error                  { return n.parent.Err() }
func (n named) Value(key any) any           { return n.parent.Value(key) }

type merged struct{ first, second context.Context }

func (m *merged) Deadline() (time.Time, bool) { return m.first.Deadline() }
func (m *merged) Done() <-chan struct{}       { return m.second.Done() }
func (m *merged) Err() error                  { return m.first.Err() }
func (m *merged) Value(key any) any           { return m.second.Value(key) }

// contexts are those that hold another one, and the ones that hold none.
func contexts() []context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	timer, cancel := context.WithTimeout(ctx, time.Hour)
	cancel()
	after := make(chan context.Context, 1)
	context.AfterFunc(&embedding{Context: ctx}, func() { after <- ctx })
	<-after
	return []context.Context{
		context.Background(),
		context.TODO(),
		ctx,
		timer,
		context.WithValue(ctx, "key", "value"),
		context.WithoutCancel(ctx),
		embedding{Context: ctx},
		&embedding{Context: ctx},
		pointing{embedding: &embedding{Context: ctx}},
		&pointing{embedding: &embedding{Context: ctx}},
		named{ctx},
		&named{ctx},
		&merged{ctx, ctx},
	}
}
