package rpcs

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver/manual"
	"lightfoot.example/witness"
)

// failures are the cases of connections that fail, of servers that end, and of calls that are tried again.
func failures() []row {
	waiting := []grpc.CallOption{grpc.WaitForReady(true)}
	return []row{
		{"refused", func(s *scene, name string) { s.once(name, dial(s.refused), call{}) }, true},
		{"refused-waiting", func(s *scene, name string) {
			s.onceWithin(100*time.Millisecond, name, dial(s.refused), call{options: waiting})
		}, true},
		{"refused-without-port", func(s *scene, name string) { s.once(name, dial("dns:///localhost"), call{}) }, false},
		{"refused-bare-name", func(s *scene, name string) { s.once(name, dialBy(NewClient, "localhost"), call{}) }, false},
		{"unknown-host", func(s *scene, name string) { s.once(name, dial("dns:///nowhere.invalid:81"), call{}) }, false},
		{"no-handshake", func(s *scene, name string) {
			silent := listen("tcp", "127.0.0.1:0")
			defer silent.Close()
			s.onceWithin(100*time.Millisecond, name, dial(silent.Addr().String()), call{})
		}, true},
		{"never-resolved", func(s *scene, name string) {
			builder := manual.NewBuilderWithScheme("manual")
			s.onceWithin(100*time.Millisecond, name, dial("manual:///nobody", grpc.WithResolvers(builder)), call{})
		}, true},
		{"waited-for-ready", func(s *scene, name string) {
			// Who serves comes later than the call.
			address, socket := witness.Refused()
			started := make(chan *grpc.Server)
			go func() {
				time.Sleep(50 * time.Millisecond)
				server := s.register(grpc.NewServer())
				serve(server, accepted(socket))
				started <- server
			}()
			quickly := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{
				BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond,
			}})
			s.once(name, dial(address, quickly), call{options: waiting})
			(<-started).Stop()
		}, false},
		{"server-gone", func(s *scene, name string) {
			server := s.register(grpc.NewServer())
			connection := dial(serve(server, listen("tcp", "127.0.0.1:0")))
			defer connection.Close()
			for i := 0; i < 3; i++ {
				s.unary(name, connection, call{})
				server.Stop()
				time.Sleep(20 * time.Millisecond) // the client has noticed
			}
		}, false},
		{"closed", func(s *scene, name string) {
			connection := dial(s.plain.target)
			connection.Close()
			s.unary(name, connection, call{})
		}, true},
		{"interceptor-refuses", to(func(s *scene) *remote { return s.failing }, ""), true},
		{"connection-cut", func(s *scene, name string) { s.cut(name, "wait") }, false},
		{"connection-cut-ignored", func(s *scene, name string) { s.cut(name, "wait-and-answer") }, false},
		{"connection-closed", func(s *scene, name string) {
			connection := dial(s.plain.target)
			go func() {
				<-s.started.channel
				connection.Close()
			}()
			s.unary(name, connection, call{do: "wait"})
			time.Sleep(50 * time.Millisecond) // the handler is a little later
		}, false},

		{"stopped", func(s *scene, name string) { s.stopped(name, "wait", (*grpc.Server).Stop) }, false},
		{"stopped-gracefully", func(s *scene, name string) {
			s.stopped(name, "sleep 100", (*grpc.Server).GracefulStop)
		}, false},
		{"connection-aged", func(s *scene, name string) {
			server, connection := s.aging(keepalive.ServerParameters{
				MaxConnectionAge: 50 * time.Millisecond, MaxConnectionAgeGrace: time.Minute,
			})
			defer server.Stop()
			defer connection.Close()
			for i := 0; i < 2; i++ {
				s.unary(name, connection, call{do: "sleep 200"})
				<-s.started.channel
			}
		}, false},
		{"connection-outlived", func(s *scene, name string) {
			server, connection := s.aging(keepalive.ServerParameters{
				MaxConnectionAge: 50 * time.Millisecond, MaxConnectionAgeGrace: 50 * time.Millisecond,
			})
			defer server.Stop()
			defer connection.Close()
			s.unary(name, connection, call{do: "wait"})
			<-s.started.channel
			time.Sleep(50 * time.Millisecond) // the handler is a little later
		}, false},

		{"retried", to(func(s *scene) *remote { return s.retrying }, "fail-twice"), true},
		{"retried-by-interceptor", to(func(s *scene) *remote { return s.insisting }, "code 14"), true},
		{"retried-in-vain", to(func(s *scene) *remote { return s.retrying }, "code 14"), true},
	}
}

// once makes a call over a connection that nobody else needs.
func (s *scene) once(name string, to *remote, c call) {
	defer to.Close()
	s.unary(name, to, c)
}

func (s *scene) onceWithin(limit time.Duration, name string, to *remote, c call) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.ctx = ctx
	s.once(name, to, c)
}

// cut makes a call whose connection is gone once the handler waits.
func (s *scene) cut(name, do string) {
	connection, cut := fragile(s.plain)
	defer connection.Close()
	go func() {
		<-s.started.channel
		cut()
	}()
	s.unary(name, connection, call{do: do})
	time.Sleep(50 * time.Millisecond) // the handler is a little later
}

// stopped makes a call of a server that is stopped once the handler is at it.
func (s *scene) stopped(name, do string, stop func(*grpc.Server)) {
	server := s.register(grpc.NewServer())
	connection := dial(serve(server, listen("tcp", "127.0.0.1:0")))
	defer connection.Close()
	over := make(chan struct{})
	go func() {
		<-s.started.channel
		stop(server)
		close(over)
	}()
	s.unary(name, connection, call{do: do})
	<-over
	time.Sleep(50 * time.Millisecond) // the handler is a little later
}

func (s *scene) aging(parameters keepalive.ServerParameters) (*grpc.Server, *remote) {
	server := s.register(grpc.NewServer(grpc.KeepaliveParams(parameters)))
	return server, dial(serve(server, listen("tcp", "127.0.0.1:0")))
}
