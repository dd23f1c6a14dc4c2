package main

import (
	"context"
	"sync"
	"time"
)

// ginLike is what web frameworks hand to their handlers: a struct with a context inside of it.
type ginLike struct {
	engine *int
	index  int8
	context.Context
	keys map[string]any
}

// small is passed by value: the interface points to a copy.
type small struct {
	context.Context
	name string
}

// outer embeds a struct that embeds a context.
type outer struct {
	padding [3]uint64
	ginLike
}

// holder is a context that has another one in a field that is not embedded.
type holder struct {
	name  string
	inner context.Context
}

func (h *holder) Deadline() (time.Time, bool) { return h.inner.Deadline() }
func (h *holder) Done() <-chan struct{}       { return h.inner.Done() }
func (h *holder) Err() error                  { return h.inner.Err() }
func (h *holder) Value(key any) any           { return h.inner.Value(key) }

type key int

// deep puts that many contexts of all kinds around ctx.
func deep(ctx context.Context, depth int) (context.Context, func()) {
	ends := []func(){}
	for i := 0; i < depth; i++ {
		switch i % 6 {
		case 0, 1, 2:
			ctx = context.WithValue(ctx, key(i), i)
		case 3:
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			ends = append(ends, cancel)
		case 4:
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Minute)
			ends = append(ends, cancel)
		case 5:
			ctx = &ginLike{Context: ctx}
		}
	}
	return ctx, func() {
		for _, end := range ends {
			end()
		}
	}
}

// group is golang.org/x/sync/errgroup in short.
type group struct {
	all    sync.WaitGroup
	cancel context.CancelCauseFunc
}

func withGroup(ctx context.Context) (*group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{cancel: cancel}, ctx
}

func (g *group) do(work func()) {
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		work()
	}()
}

func (g *group) wait() {
	g.all.Wait()
	g.cancel(nil)
}
