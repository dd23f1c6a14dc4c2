package rpcs

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"lightfoot.example/witness"
)

// The rules by which a parent can be found.
const (
	byContext         = "context"
	byGoroutine       = "goroutine"
	byParentGoroutine = "parent_goroutine"
)

// relate makes a call on behalf of what is served under that number, in a relation to it.
func (s *scene) relate(ctx context.Context, number int64, relation string) error {
	cause := func(rule string) Cause { return Cause{Parent: number, Of: "served", Rule: rule} }
	rpc := func(ctx context.Context, cause Cause) error {
		_, err := s.unary(relation, s.plain, call{ctx: ctx, cause: cause})
		return err
	}
	bare := context.Background()
	switch relation {
	case "rpc-context":
		return rpc(ctx, cause(byContext))
	case "rpc-slow":
		_, err := s.unary(relation, s.plain, call{ctx: ctx, cause: cause(byContext), do: "sleep 3500"})
		return err
	case "rpc-background":
		return rpc(bare, cause(byGoroutine))
	case "rpc-pool-context":
		return s.inPool(func() error { return rpc(ctx, cause(byContext)) })
	case "rpc-pool-bare":
		return s.inPool(func() error { return rpc(bare, Cause{}) })
	case "rpc-spawned":
		return spawn(func() error { return rpc(bare, cause(byParentGoroutine)) })
	case "rpc-spawned-context":
		return spawn(func() error { return rpc(ctx, cause(byContext)) })
	case "stream-context":
		return s.echo(relation, s.plain, call{ctx: ctx, cause: cause(byContext)}, 2)
	case "stream-background":
		return s.echo(relation, s.plain, call{ctx: bare, cause: cause(byGoroutine)}, 2)
	case "stream-pool-context":
		return s.inPool(func() error {
			return s.echo(relation, s.plain, call{ctx: ctx, cause: cause(byContext)}, 2)
		})
	case "http-context":
		s.get(ctx, relation, witness.Call{Parent: number, Rule: byContext, Cause: number})
	case "http-background":
		s.get(bare, relation, witness.Call{Parent: number, Rule: byGoroutine, Cause: number})
	case "http-pool-context":
		return s.inPool(func() error {
			s.get(ctx, relation, witness.Call{Parent: number, Rule: byContext, Cause: number})
			return nil
		})
	case "both":
		// By gRPC to a handler that calls by HTTP, and then by HTTP here.
		c := call{ctx: ctx, cause: cause(byContext), do: "nest http-context"}
		if _, err := s.unary(relation, s.plain, c); err != nil {
			return err
		}
		s.get(ctx, relation, witness.Call{Parent: number, Rule: byContext, Cause: number})
	case "deep":
		c := call{ctx: ctx, cause: cause(byContext), do: "nest both"}
		_, err := s.unary(relation, s.plain, c)
		return err
	default:
		log.Fatalf("what is %q?", relation)
	}
	return nil
}

// get calls by HTTP. A parent that is no cause was called itself.
func (s *scene) get(ctx context.Context, name string, truth witness.Call) {
	url := fmt.Sprintf("%s/%s/%d", s.upstream, name, witness.Number())
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		log.Fatal(err)
	}
	truth = truth.Begin(request)
	response, err := s.client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	s.truth.Write(truth.Finish(response, nil))
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

// ask has the HTTP server make a call in that relation.
func (s *scene) ask(relation string) {
	number := witness.Number()
	client := connect(s.web)
	defer client.Close()
	fmt.Fprintf(client, "GET /%s/%d HTTP/1.1\r\nHost: web.test\r\nX-Number: %d\r\nConnection: close\r\n\r\n", relation, number, number)
	io.Copy(io.Discard, client)
}

// inPool has a goroutine that is older than all calls do the work.
func (s *scene) inPool(work func() error) error {
	done := make(chan error)
	s.pool <- func() { done <- work() }
	return <-done
}

// spawn has a new goroutine do the work.
func spawn(work func() error) error {
	done := make(chan error)
	go func() { done <- work() }()
	return <-done
}
