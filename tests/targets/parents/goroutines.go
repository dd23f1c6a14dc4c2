package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// otherGoroutines adds the cases that leave the request's goroutine.
func otherGoroutines(handlers map[string]func(*program, *http.Request, *incoming)) {
	handlers["after-func"] = func(p *program, r *http.Request, in *incoming) {
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan struct{})
		context.AfterFunc(ctx, func() {
			defer close(done)
			p.call(context.WithoutCancel(ctx), in, byContext, in.number)
		})
		cancel()
		<-done
	}
	handlers["errgroup"] = func(p *program, r *http.Request, in *incoming) {
		group, ctx := withGroup(r.Context())
		for i := 0; i < 3; i++ {
			group.do(func() { p.call(ctx, in, byContext, in.number) })
		}
		group.wait()
	}
	handlers["pool-context"] = func(p *program, r *http.Request, in *incoming) {
		p.inPool(func() { p.call(r.Context(), in, byContext, in.number) })
	}
	handlers["pool-bare"] = func(p *program, r *http.Request, in *incoming) {
		p.inPool(func() { p.call(context.Background(), in, byNone, 0) })
	}
	handlers["spawned"] = func(p *program, r *http.Request, in *incoming) {
		p.spawn(func() { p.call(context.Background(), in, byParentGoroutine, in.number) })
	}
	handlers["spawned-context"] = func(p *program, r *http.Request, in *incoming) {
		p.spawn(func() { p.call(r.Context(), in, byContext, in.number) })
	}
	// Its creator has no span of its own.
	handlers["spawned-twice"] = func(p *program, r *http.Request, in *incoming) {
		p.spawn(func() {
			p.spawn(func() { p.call(context.Background(), in, byNone, 0) })
		})
	}
	// The runtime starts the goroutine.
	handlers["timer"] = func(p *program, r *http.Request, in *incoming) {
		done := make(chan struct{})
		time.AfterFunc(time.Millisecond, func() {
			defer close(done)
			p.call(context.Background(), in, byNone, 0)
		})
		<-done
	}
	handlers["fan-out"] = func(p *program, r *http.Request, in *incoming) {
		var all sync.WaitGroup
		for i := 0; i < 5; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				p.call(context.Background(), in, byParentGoroutine, in.number)
			}()
		}
		all.Wait()
	}
	handlers["outlives"] = func(p *program, r *http.Request, in *incoming) {
		ctx := context.WithoutCancel(r.Context())
		p.later(in, func() { p.call(ctx, in, byContext, in.number) })
	}
	handlers["outlives-bare"] = func(p *program, r *http.Request, in *incoming) {
		p.later(in, func() { p.call(context.Background(), in, byNone, 0) })
	}
	// Goroutines that work for others after the request that created them has ended.
	handlers["kept-goroutine-starts"] = func(p *program, r *http.Request, in *incoming) {
		kept := p.keep(in)
		p.later(in, func() { p.kept.offer(kept) })
	}
	handlers["kept-goroutine"] = func(p *program, r *http.Request, in *incoming) {
		if kept, found := p.kept.take(); found {
			p.employ(kept, in)
			p.kept.offer(kept)
		}
	}
	// The same while the request is still open.
	handlers["lazy-pool-starts"] = func(p *program, r *http.Request, in *incoming) {
		kept := p.keep(in)
		p.lazy.offer(kept)
		select {
		case <-kept.used:
		case <-time.After(time.Duration(p.lazyWait.Load())):
		}
	}
	handlers["lazy-pool"] = func(p *program, r *http.Request, in *incoming) {
		if kept, found := p.lazy.take(); found {
			p.employ(kept, in)
			p.pending.Add(1)
			go func() {
				defer p.pending.Done()
				<-kept.ended
				p.kept.offer(kept)
			}()
		}
	}
	handlers["borrowed-context-lends"] = func(p *program, r *http.Request, in *incoming) {
		p.lent.offer(&lentContext{context.WithoutCancel(r.Context()), in.number})
	}
	handlers["borrowed-context"] = func(p *program, r *http.Request, in *incoming) {
		if lent, found := p.lent.take(); found {
			p.call(lent, in, byContext, lent.owner)
		}
	}
}

// later works on a goroutine that the handler starts, once the whole response has come.
func (p *program) later(in *incoming, work func()) {
	answered := p.whenAnswered(in)
	p.pending.Add(1)
	go func() {
		defer p.pending.Done()
		<-answered
		work()
	}()
}

// keep starts a goroutine that waits for work of other requests.
func (p *program) keep(in *incoming) *keptGoroutine {
	kept := &keptGoroutine{
		creator: in.number, ended: p.whenAnswered(in), work: make(chan func(string, int64)),
		used: make(chan struct{}),
	}
	go kept.run()
	return kept
}

// employ has a kept goroutine make a call for this request.
func (p *program) employ(kept *keptGoroutine, in *incoming) {
	done := make(chan struct{})
	kept.work <- func(rule string, parent int64) {
		defer close(done)
		p.call(context.Background(), in, rule, parent)
	}
	<-done
}

func (p *program) whenAnswered(in *incoming) <-chan struct{} {
	answered, found := p.answered.Load(in.number)
	if !found {
		panic("a request that the driver has not sent")
	}
	return answered.(chan struct{})
}
