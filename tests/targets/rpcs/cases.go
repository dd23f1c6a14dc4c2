package rpcs

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// row is a case: a way to call.
type row struct {
	name string
	run  func(s *scene, name string)
	// quick ones can be made many at a time.
	quick bool
}

// asks is a case of one call whose handler does that.
func asks(do string) func(*scene, string) {
	return func(s *scene, name string) { s.unary(name, s.plain, call{do: do}) }
}

// to is a case of one call of another server.
func to(server func(*scene) *remote, do string) func(*scene, string) {
	return func(s *scene, name string) { s.unary(name, server(s), call{do: do}) }
}

// with is a case of one call with that metadata.
func with(pairs ...string) func(*scene, string) {
	return func(s *scene, name string) { s.unary(name, s.plain, call{metadata: pairs}) }
}

// names are those of codes, in lower case.
var names = strings.Fields(`ok cancelled unknown invalid-argument deadline-exceeded not-found already-exists
	permission-denied resource-exhausted failed-precondition aborted out-of-range unimplemented internal unavailable
	data-loss unauthenticated`)

// rows are all cases.
func rows() []row {
	all := []row{
		{"unary", asks(""), true},
		{"unary-kept", func(s *scene, name string) {
			for i := 0; i < 3; i++ {
				s.unary(name, s.plain, call{message: "again"})
			}
		}, true},
		{"direct", func(s *scene, name string) {
			c := call{}
			truth := c.truth(name, unaryService, s.plain).begin()
			err := s.plain.Invoke(c.context(name), truth.Method, message(""), message(""))
			s.truth.Write(truth.finish(err))
		}, true},
		{"embedded", func(s *scene, name string) {
			// The compiler writes a method of the outer type that calls.
			c := call{}
			truth := c.truth(name, unaryService, s.plain).begin()
			_, err := (&stub{s.plain}).call(c.context(name), truth.Method, message(""))
			s.truth.Write(truth.finish(err))
		}, true},
		{"large-message", func(s *scene, name string) {
			s.unary(name, s.plain, call{do: "large", message: strings.Repeat("x", 1<<17)})
		}, true},
		{"compressed", func(s *scene, name string) {
			s.unary(name, s.plain, call{options: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}})
		}, true},
		{"large-metadata", func(s *scene, name string) {
			pairs := []string{}
			for i := 0; i < 100; i++ {
				pairs = append(pairs, fmt.Sprintf("x-key-%d", i), strings.Repeat("v", 100))
			}
			s.unary(name, s.plain, call{metadata: pairs})
		}, true},
	}
	for code, named := range names {
		if code > 0 {
			all = append(all, row{"says-" + named, asks(fmt.Sprint("code ", code)), true})
		}
	}
	all = append(all, []row{
		{"says-17", asks("code 17"), true},
		{"details", asks("details"), true},
		{"plain-error", asks("plain"), true},
		{"wrapped-status", asks("wrapped"), true},
		{"long-message", asks("long"), true},
		{"panic-recovered", to(func(s *scene) *remote { return s.guarded }, "panic"), true},
		{"goexit", func(s *scene, name string) { s.within(300*time.Millisecond, name, call{do: "goexit"}) }, false},
		{"undecodable", func(s *scene, name string) {
			s.unary(name, s.plain, call{options: []grpc.CallOption{grpc.ForceCodec(raw{})}})
		}, true},
		{"unencodable", func(s *scene, name string) {
			s.unary(name, s.plain, call{options: []grpc.CallOption{grpc.ForceCodec(raw{fails: true})}})
		}, true},
		{"too-large", func(s *scene, name string) {
			s.unary(name, s.guarded, call{message: strings.Repeat("x", 1<<17)})
		}, true},
		{"answer-too-large", func(s *scene, name string) {
			s.unary(name, s.plain, call{do: "large", options: []grpc.CallOption{grpc.MaxCallRecvMsgSize(1 << 16)}})
		}, true},
		{"bad-metadata", with("not a key", "value"), true},

		{"unknown-method", func(s *scene, name string) {
			s.unary(name, s.plain, call{method: "/truth.Unary/Unknown%"})
		}, true},
		{"unknown-service", func(s *scene, name string) {
			s.unary(name, s.plain, call{method: "/truth.Unknown/Method%"})
		}, true},
		{"malformed-method", func(s *scene, name string) {
			s.unary(name, s.plain, call{method: "/malformed%"})
		}, true},
		{"long-method", func(s *scene, name string) {
			s.unary(name, s.plain, call{method: "/truth.Long/%" + strings.Repeat("Long", 500)})
		}, true},

		{"deadline", func(s *scene, name string) { s.within(200*time.Millisecond, name, call{do: "wait"}) }, false},
		{"deadline-over", func(s *scene, name string) { s.within(-time.Second, name, call{}) }, true},
		{"deadline-ignored", func(s *scene, name string) {
			s.within(200*time.Millisecond, name, call{do: "wait-and-answer"})
			time.Sleep(50 * time.Millisecond) // the handler is a little later
		}, false},
		{"cancelled", func(s *scene, name string) { s.cancelled(name, s.plain, "wait") }, false},
		{"cancelled-bare", func(s *scene, name string) { s.cancelled(name, s.plain, "wait-bare") }, false},
		{"cancelled-ignored", func(s *scene, name string) { s.cancelled(name, s.plain, "wait-and-answer") }, false},
		{"cancelled-before", func(s *scene, name string) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.unary(name, s.plain, call{ctx: ctx})
		}, true},

		{"traceparent", with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), true},
		{"tracestate", with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"tracestate", "vendor=value", "tracestate", "other=1"), true},
		{"traceparent-invalid", with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"), true},
		{"traceparent-twice", with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"), true},
		{"traceparent-unsampled", with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), true},

		{"dns-target", to(func(s *scene) *remote { return s.named }, ""), true},
		{"passthrough-target", to(func(s *scene) *remote { return s.passed }, ""), true},
		{"manual-target", to(func(s *scene) *remote { return s.manual }, ""), true},
		{"unix-target", to(func(s *scene) *remote { return s.unix }, ""), true},
		{"unix-named", to(func(s *scene) *remote { return s.unixNamed }, ""), true},
		{"own-scheme", to(func(s *scene) *remote { return s.ownScheme }, ""), true},
		{"two-servers", func(s *scene, name string) {
			for i := 0; i < 4; i++ {
				s.unary(name, s.balanced, call{})
			}
		}, true},
		{"ipv6-target", to(func(s *scene) *remote { return s.ipv6 }, ""), true},
		{"in-memory", to(func(s *scene) *remote { return s.inMemory }, ""), true},
		{"workers", func(s *scene, name string) {
			for i := 0; i < 10; i++ {
				s.unary(name, s.workers, call{})
			}
		}, true},

		{"health-check", func(s *scene, name string) { s.health(name, "known") }, false},
		{"health-unknown", func(s *scene, name string) { s.health(name, "unknown") }, false},

		{"handler-tls", to(func(s *scene) *remote { return s.overTLS }, ""), true},
		{"handler-h2c", to(func(s *scene) *remote { return s.overH2c }, ""), true},
		{"handler-error", to(func(s *scene) *remote { return s.overTLS }, "code 14"), true},
		{"handler-unknown-method", func(s *scene, name string) {
			s.unary(name, s.overTLS, call{method: "/truth.Unary/Unknown%"})
		}, false},
		{"handler-cancelled", func(s *scene, name string) { s.cancelled(name, s.overTLS, "wait") }, false},
		{"handler-traceparent", func(s *scene, name string) {
			pair := []string{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
			s.unary(name, s.overTLS, call{metadata: pair})
		}, true},
		{"handler-nested", to(func(s *scene) *remote { return s.overTLS }, "nest both"), true},
	}...)
	return append(append(append(all, failures()...), streams()...), related()...)
}

// byWorkers is the case of calls that net/http receives and workers serve; its server has spans of HTTP, so it is not listed.
var byWorkers = row{"handler-workers", func(s *scene, name string) {
	for i := 0; i < 5; i++ {
		s.unary(name, s.overWorkers, call{})
		time.Sleep(10 * time.Millisecond) // the worker waits again
	}
}, false}

// within makes a call that has so long.
func (s *scene) within(limit time.Duration, name string, c call) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.ctx = ctx
	s.unary(name, s.plain, c)
}

// cancelled makes a call that is cancelled once the handler waits.
func (s *scene) cancelled(name string, to *remote, do string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-s.started.channel
		cancel()
	}()
	s.unary(name, to, call{ctx: ctx, do: do})
	time.Sleep(50 * time.Millisecond) // the handler is a little later
}

// health asks by generated code.
func (s *scene) health(name, service string) {
	c := call{method: "/grpc.health.v1.Health/Check"}
	truth := c.truth(name, "", s.plain).begin()
	_, err := healthpb.NewHealthClient(s.plain).Check(c.context(name), &healthpb.HealthCheckRequest{Service: service})
	s.truth.Write(truth.finish(err))
}

// find is the case of that name.
func find(name string) row {
	for _, row := range append(rows(), hidden, nested, byWorkers, elsewhereHandled) {
		if row.name == name {
			return row
		}
	}
	log.Fatalf("no case %q", name)
	return row{}
}
