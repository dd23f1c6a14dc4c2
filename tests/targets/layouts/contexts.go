package main

import (
	"context"
	"time"
)

// Direct embeds the interface, as most holders do.
type Direct struct {
	Number int
	context.Context
}

// Level1 to Level3 hold a context by value, three embeddings deep and not at offset 0.
type Level1 struct {
	ID uint64
	context.Context
}

// Level2 embeds Level1 by value.
type Level2 struct {
	Name string
	Level1
}

// Level3 embeds Level2 by value, behind a byte.
type Level3 struct {
	Flag byte
	Level2
	After error
}

// Named holds a context in a named field and is itself a context.
type Named struct {
	Values map[string]any
	ctx    context.Context
}

// Deadline, Done, Err and Value make Named a context.
func (n *Named) Deadline() (time.Time, bool) { return n.ctx.Deadline() }
func (n *Named) Done() <-chan struct{}       { return n.ctx.Done() }
func (n *Named) Err() error                  { return n.ctx.Err() }
func (n *Named) Value(key any) any           { return n.ctx.Value(key) }

// Pointing embeds a pointer to a holder: its context lies behind that pointer.
type Pointing struct {
	Count int32
	*Level3
}

// Several holds two contexts; only one is embedded.
type Several struct {
	Other context.Context
	context.Context
}

// InArray holds contexts in an array of structs.
type InArray struct {
	Holders [2]Direct
}

// Generic embeds its parameter's struct beside a context.
type Generic[T any] struct {
	Held T
	context.Context
}

type key struct{}

func contexts() {
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), key{}, "value"), time.Hour)
	defer cancel()
	level3 := Level3{Level2: Level2{Name: "two", Level1: Level1{ID: 1, Context: ctx}}}
	for _, holder := range []context.Context{
		&Direct{Context: ctx}, level3, &level3, &Named{ctx: ctx}, Pointing{Level3: &level3}, &Pointing{Level3: &level3},
		&Several{Context: ctx}, &Generic[Arrays]{Context: ctx}, Generic[string]{Context: ctx},
	} {
		if holder.Value(key{}) != "value" {
			panic("a holder lost its context")
		}
		keep(holder)
	}
	keep(&InArray{Holders: [2]Direct{{Context: ctx}, {Context: ctx}}})
	detached(ctx)
}
