package main

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// The handler of /front/MODE/REST requests /back/MODE/REST in the way that the mode says.
func front(w http.ResponseWriter, r *http.Request) {
	mode, _, _ := strings.Cut(r.URL.Path[len("/front/"):], "/")
	to := origin + "/back/" + r.URL.Path[len("/front/"):]
	call := func(ctx context.Context) { send(client, ctx, "GET", to) }
	ctx, background := r.Context(), context.Background()
	switch mode {
	case "context":
		call(ctx)
	case "derived":
		ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), key(1), 1), time.Minute)
		defer cancel()
		call(ctx)
	case "pointer":
		call(&embedding{ctx, 1})
	case "value":
		call(embedding{ctx, 1})
	case "gin":
		call(&ginLike{Request: r})
	case "deep":
		for i := 0; i < 50; i++ {
			ctx = context.WithValue(ctx, key(i), i)
		}
		call(ctx)
	case "client-timeout":
		patient := &http.Client{Transport: transport, Timeout: time.Minute}
		send(patient, ctx, "GET", to)
	case "pool":
		elsewhere(func() { call(ctx) })
	case "late":
		ctx := context.WithoutCancel(ctx)
		late.Add(1)
		jobs <- func() {
			time.Sleep(20 * time.Millisecond)
			call(ctx)
			late.Done()
		}
	case "goroutine":
		call(background)
	case "panicking":
		send(client, background, "GET", "test://panic/x")
	case "grown":
		deeper(200, func() string { call(background); return "" })
	case "spawned", "spawned-off":
		spawn(func() { call(background) })
	case "spawned-with-context":
		spawn(func() { call(ctx) })
	case "spawned-twice":
		spawn(func() { spawn(func() { call(background) }) })
	case "pool-background":
		elsewhere(func() { call(background) })
	case "start-worker":
		// The worker does nothing as long as this request lasts.
		worker = make(chan func())
		go func(jobs chan func()) {
			for job := range jobs {
				job()
			}
		}(worker)
	case "feed-worker":
		done := make(chan struct{})
		worker <- func() { call(background); close(done) }
		<-done
	}
}

// embedding is a context as libraries make them.
type embedding struct {
	context.Context
	id int
}

// ginLike finds its context in a request, as gin.Context does.
type ginLike struct {
	id      int
	Request *http.Request
}

func (c *ginLike) Deadline() (time.Time, bool) { return c.Request.Context().Deadline() }
func (c *ginLike) Done() <-chan struct{}       { return c.Request.Context().Done() }
func (c *ginLike) Err() error                  { return c.Request.Context().Err() }
func (c *ginLike) Value(key any) any           { return c.Request.Context().Value(key) }

var (
	jobs   = make(chan func())
	worker chan func()
)

func work() {
	for job := range jobs {
		job()
	}
}

// elsewhere has a goroutine that exists already do it.
func elsewhere(do func()) {
	done := make(chan struct{})
	jobs <- func() { do(); close(done) }
	<-done
}

func spawn(do func()) {
	done := make(chan struct{})
	go func() { do(); close(done) }()
	<-done
}
