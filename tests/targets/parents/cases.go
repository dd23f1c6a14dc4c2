package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"sync"
	"time"

	"lightfoot.example/witness"
)

// row is a case; without a function it is one request of that name.
type row struct {
	name string
	run  func(*program)
}

// rows are all cases.
func rows() []row {
	return []row{
		{name: "context"}, {name: "background"}, {name: "both"},
		{name: "with-value"}, {name: "with-cancel"}, {name: "with-timeout"}, {name: "with-deadline-cause"},
		{name: "without-cancel"}, {name: "after-func"}, {name: "request-copy"},
		{name: "embedded"}, {name: "embedded-value"}, {name: "embedded-twice"}, {name: "held"},
		{name: "depth-50"}, {name: "depth-200"},
		{name: "errgroup"}, {name: "pool-context"}, {name: "pool-bare"},
		{name: "spawned"}, {name: "spawned-context"}, {name: "spawned-twice"}, {name: "timer"}, {name: "fan-out"},
		{name: "outlives"}, {name: "outlives-bare"},
		{"kept-goroutine", func(p *program) {
			c := p.connect()
			defer c.close()
			c.ask("kept-goroutine-starts", "")
			p.kept.wait()
			c.ask("kept-goroutine", "")
			p.kept.empty((*keptGoroutine).end)
		}},
		{"lazy-pool", func(p *program) {
			// The work comes before the request ends, however slow the machine is.
			p.lazyWait.Store(int64(time.Minute))
			defer p.lazyWait.Store(int64(lazyWait))
			over := make(chan struct{})
			go func() {
				p.once("lazy-pool-starts", "")
				close(over)
			}()
			p.lazy.wait()
			p.once("lazy-pool", "")
			<-over
			p.pending.Wait()
			p.kept.empty((*keptGoroutine).end)
		}},
		{"borrowed-context", func(p *program) {
			p.once("borrowed-context-lends", "")
			p.once("borrowed-context", "")
		}},
		{name: "nested"}, {name: "nested-traceparent"},
		{name: "call-inside-call"}, {name: "stack-grown"}, {name: "stack-grown-inside"},
		{name: "panicked-call"}, {name: "panicked-call-deeper"},
		{"remote-parent", func(p *program) {
			p.once("remote-parent", fmt.Sprintf("00-%032x-%016x-01", rand.Uint64()|1, rand.Uint64()|1))
		}},
		{"unsampled", func(p *program) {
			p.once("unsampled", fmt.Sprintf("00-%032x-%016x-00", rand.Uint64()|1, rand.Uint64()|1))
		}},
	}
}

// handlers are what requests can be, by the first part of their path. Those that follow in this file stay on the
// request's goroutine.
var handlers map[string]func(*program, *http.Request, *incoming)

// chaotic are those that a request can be in chaos, where each has the same chance.
func chaotic() []string {
	names := []string{}
	for name := range handlers {
		switch name {
		case "nested-inner", "nested-traceparent-inner", "crowd", "mid-life": // they belong to others
		case "panicked-call-deeper": // a row of its own
		default:
			names = append(names, name)
		}
	}
	return names
}

func init() {
	handlers = map[string]func(*program, *http.Request, *incoming){
		"nested-inner":             func(*program, *http.Request, *incoming) {},
		"nested-traceparent-inner": func(*program, *http.Request, *incoming) {},
		"context": func(p *program, r *http.Request, in *incoming) {
			p.call(r.Context(), in, byContext, in.number)
		},
		"background": func(p *program, r *http.Request, in *incoming) {
			p.call(context.Background(), in, byGoroutine, in.number)
		},
		"both":          both,
		"remote-parent": both,
		"unsampled":     both,
		"with-value": func(p *program, r *http.Request, in *incoming) {
			p.call(context.WithValue(r.Context(), key(1), in), in, byContext, in.number)
		},
		"with-cancel": func(p *program, r *http.Request, in *incoming) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			p.call(ctx, in, byContext, in.number)
		},
		"with-timeout": func(p *program, r *http.Request, in *incoming) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
			defer cancel()
			p.call(ctx, in, byContext, in.number)
		},
		"with-deadline-cause": func(p *program, r *http.Request, in *incoming) {
			ctx, cancel := context.WithDeadlineCause(r.Context(), time.Now().Add(time.Minute), errors.New("late"))
			defer cancel()
			p.call(ctx, in, byContext, in.number)
		},
		"without-cancel": func(p *program, r *http.Request, in *incoming) {
			p.call(context.WithoutCancel(r.Context()), in, byContext, in.number)
		},
		"request-copy": func(p *program, r *http.Request, in *incoming) {
			r = r.WithContext(context.WithValue(r.Context(), key(2), in))
			p.call(r.Clone(r.Context()).Context(), in, byContext, in.number)
		},
		"embedded": func(p *program, r *http.Request, in *incoming) {
			p.call(&ginLike{Context: r.Context()}, in, byContext, in.number)
		},
		"embedded-value": func(p *program, r *http.Request, in *incoming) {
			p.call(small{r.Context(), in.name}, in, byContext, in.number)
		},
		"embedded-twice": func(p *program, r *http.Request, in *incoming) {
			ctx, cancel := context.WithCancel(&outer{ginLike: ginLike{Context: r.Context()}})
			defer cancel()
			p.call(&ginLike{Context: ctx}, in, byContext, in.number)
		},
		"held": func(p *program, r *http.Request, in *incoming) {
			p.call(&holder{in.name, r.Context()}, in, byContext, in.number)
		},
		// On another goroutine, so that no other rule applies.
		"depth-50": func(p *program, r *http.Request, in *incoming) {
			ctx, end := deep(r.Context(), 50)
			defer end()
			p.inPool(func() { p.call(ctx, in, byContext, in.number) })
		},
		// Deeper than any walk goes.
		"depth-200": func(p *program, r *http.Request, in *incoming) {
			ctx, end := deep(r.Context(), 200)
			defer end()
			p.inPool(func() { p.call(ctx, in, byNone, 0) })
		},
		"nested": func(p *program, r *http.Request, in *incoming) {
			request := outgoing(r.Context(), "http://"+p.address, "nested-inner", witness.Number())
			p.send(p.clients[0], request, in, byContext, in.number)
		},
		"nested-traceparent": func(p *program, r *http.Request, in *incoming) {
			request := outgoing(r.Context(), "http://"+p.address, "nested-traceparent-inner", witness.Number())
			request.Header.Set("Traceparent", fmt.Sprintf("00-%032x-%016x-01", rand.Uint64()|1, rand.Uint64()|1))
			p.send(p.clients[0], request, in, byContext, in.number)
		},
		"call-inside-call": func(p *program, r *http.Request, in *incoming) {
			p.callBy(p.nosy, context.Background(), in, witness.Number(), byGoroutine, in.number)
		},
		"stack-grown": func(p *program, r *http.Request, in *incoming) {
			grow(20)
			p.deeper(30, in)
			p.call(context.Background(), in, byGoroutine, in.number)
		},
		"stack-grown-inside": func(p *program, r *http.Request, in *incoming) {
			p.callBy(p.growing, context.Background(), in, witness.Number(), byGoroutine, in.number)
			p.call(context.Background(), in, byGoroutine, in.number)
		},
		"panicked-call": func(p *program, r *http.Request, in *incoming) {
			p.panicked(in)
			p.call(context.Background(), in, byGoroutine, in.number)
		},
		"panicked-call-deeper": func(p *program, r *http.Request, in *incoming) {
			p.panicked(in)
			p.deeper(30, in)
		},
		"mid-life": func(p *program, r *http.Request, in *incoming) {
			// None of this was seen from its beginning.
			started := make(chan struct{})
			over := make(chan struct{})
			go func() {
				close(started)
				<-p.held.release
				p.call(context.Background(), in, byNone, 0)
				close(over)
			}()
			<-started
			p.held.arrived.Done()
			<-p.held.release
			<-over
			p.call(r.Context(), in, byNone, 0)
			p.call(context.Background(), in, byNone, 0)
			p.spawn(func() { p.call(context.Background(), in, byNone, 0) })
		},
		"crowd": func(p *program, r *http.Request, in *incoming) {
			crowd.Load().wait()
			grow(int(in.number % 50))
			p.call(context.Background(), in, byGoroutine, in.number)
			p.spawn(func() {
				grow(int(in.number % 40))
				p.call(context.Background(), in, byParentGoroutine, in.number)
			})
			p.callBy(p.growing, r.Context(), in, witness.Number(), byContext, in.number)
			// Elsewhere, so that no other rule applies.
			p.inPool(func() { p.call(r.Context(), in, byContext, in.number) })
		},
	}
	otherGoroutines(handlers)
}

func both(p *program, r *http.Request, in *incoming) {
	p.call(context.TODO(), in, byGoroutine, in.number)
	p.call(r.Context(), in, byContext, in.number)
	p.call(context.Background(), in, byGoroutine, in.number)
}

// deeper calls from that many frames further inside, in a stack that moves meanwhile.
func (p *program) deeper(levels int, in *incoming) byte {
	var frame [4096]byte
	if levels == 0 {
		p.call(context.Background(), in, byGoroutine, in.number)
		return 0
	}
	frame[levels] = p.deeper(levels-1, in)
	return frame[levels/2]
}

// panicked makes a call that ends with a panic and gives no span.
func (p *program) panicked(in *incoming) {
	defer func() {
		if recover() == nil {
			panic("there was no panic")
		}
	}()
	p.panicking.Do(outgoing(context.Background(), p.upstream, "panicked-in-callback", witness.Number()))
}

// callInside makes a call inside of the call that sends the request.
func (p *program) callInside(request *http.Request) {
	name, number := witness.Place(request.URL.Path)
	in := &incoming{name: strings.Clone(name), number: number}
	p.call(context.Background(), in, byGoroutine, number)
}

// inPool has a goroutine that is older than all requests do the work.
func (p *program) inPool(work func()) {
	done := make(chan struct{})
	p.pool <- func() {
		work()
		close(done)
	}
	<-done
}

// spawn has a new goroutine do the work.
func (p *program) spawn(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	<-done
}

// keptGoroutine was started by a handler and works for others.
type keptGoroutine struct {
	creator int64
	// ended is closed once the creator's response has come.
	ended <-chan struct{}
	work  chan func(rule string, parent int64)
	// used is closed once it has worked for somebody.
	used chan struct{}
}

func (k *keptGoroutine) end() { close(k.work) }

// run tells each piece of work what can be known of its parent.
func (k *keptGoroutine) run() {
	var once sync.Once
	for work := range k.work {
		select {
		case <-k.ended:
			work(byNone, 0)
		default:
			// Wrong, and documented: it looks like a part of the request that it was created in.
			work(byParentGoroutine, k.creator)
		}
		once.Do(func() { close(k.used) })
	}
}

// lentContext is a context that another request uses.
type lentContext struct {
	context.Context
	owner int64
}
