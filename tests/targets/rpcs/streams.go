package rpcs

import (
	"context"
	"errors"
	"io"
	"log"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func message(text string) *wrapperspb.StringValue { return wrapperspb.String(text) }

// streams are the cases of streams.
func streams() []row {
	return []row{
		{"server-stream", func(s *scene, name string) { s.receiveAll(name, s.plain, "send 3", 3) }, true},
		{"server-stream-empty", func(s *scene, name string) { s.receiveAll(name, s.plain, "send 0", 0) }, true},
		{"server-stream-error", func(s *scene, name string) { s.receiveAll(name, s.plain, "send-and-abort 2", 2) }, true},
		{"client-stream", func(s *scene, name string) { s.collect(name, 3) }, true},
		{"client-stream-empty", func(s *scene, name string) { s.collect(name, 0) }, true},
		{"both-streams", func(s *scene, name string) { s.echo(name, s.plain, call{}, 3) }, true},
		{"both-streams-empty", func(s *scene, name string) { s.echo(name, s.plain, call{}, 0) }, true},
		{"stream-interceptor", func(s *scene, name string) { s.echo(name, s.nosy, call{}, 2) }, true},
		{"stream-panic-recovered", func(s *scene, name string) { s.receiveAll(name, s.guarded, "panic", 0) }, true},
		{"stream-left-early", func(s *scene, name string) {
			// The handler returns before the client has finished sending.
			stream := s.open(name, clientStreams, s.plain, call{do: "leave"})
			for err := error(nil); err == nil; err = stream.send("more") {
			}
			_, err := stream.receive()
			stream.finish(err)
		}, true},
		{"stream-half-closed", func(s *scene, name string) {
			stream := s.open(name, bothStreams, s.plain, call{do: "send 3"})
			stream.send("one")
			stream.CloseSend()
			_, err := stream.drain()
			stream.finish(err)
		}, true},
		{"stream-deadline", func(s *scene, name string) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.waiting(name, s.plain, call{ctx: ctx}, func() {})
		}, false},
		{"stream-cancelled", func(s *scene, name string) {
			ctx, cancel := context.WithCancel(context.Background())
			s.waiting(name, s.plain, call{ctx: ctx}, cancel)
		}, false},
		{"stream-cancelled-ignored", func(s *scene, name string) {
			// The handler goes on for a while, and ends as if nothing had happened.
			ctx, cancel := context.WithCancel(context.Background())
			stream := s.open(name, bothStreams, s.plain, call{ctx: ctx, do: "wait-and-answer"})
			<-s.started.channel
			cancel()
			_, err := stream.drain()
			stream.finish(err)
			time.Sleep(50 * time.Millisecond) // the handler is a little later
		}, false},
		{"stream-of-proxy", func(s *scene, name string) {
			// A call with one message each way, made as a stream.
			kind := &grpc.StreamDesc{StreamName: "Unary"}
			stream := s.open(name, kind, s.plain, call{do: "answer"})
			if err := stream.send("one"); err != nil {
				log.Fatal(err)
			}
			stream.CloseSend()
			_, err := stream.receive()
			stream.finish(err)
		}, true},
		{"stream-abandoned", func(s *scene, name string) {
			// Nobody receives any more; that it is over is noticed on a goroutine of grpc-go's own.
			ctx, cancel := context.WithCancel(context.Background())
			stream := s.open(name, bothStreams, s.plain, call{ctx: ctx, do: "wait"})
			<-s.started.channel
			cancel()
			stream.finishLater(status.FromContextError(ctx.Err()).Err())
		}, false},
		{"stream-connection-closed", func(s *scene, name string) {
			connection := dial(s.plain.target)
			s.waiting(name, connection, call{}, func() { connection.Close() })
		}, false},
		{"stream-cut", func(s *scene, name string) {
			connection, cut := fragile(s.plain)
			defer connection.Close()
			s.waiting(name, connection, call{}, cut)
		}, false},
		{"stream-refused", func(s *scene, name string) {
			connection := dial(s.refused)
			defer connection.Close()
			if s.open(name, bothStreams, connection, call{}) != nil {
				log.Fatal("there is a stream")
			}
		}, true},
		{"stream-cancelled-before", func(s *scene, name string) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if s.open(name, bothStreams, s.plain, call{ctx: ctx}) != nil {
				log.Fatal("there is a stream")
			}
		}, true},
		{"stream-unknown-method", func(s *scene, name string) {
			stream := s.open(name, bothStreams, s.plain, call{method: "/truth.BothStreams/Unknown%"})
			_, err := stream.receive()
			stream.finish(err)
		}, true},
		{"stream-received-elsewhere", func(s *scene, name string) {
			stream := s.open(name, serverStreams, s.plain, call{do: "send 3"})
			stream.send("one")
			stream.CloseSend()
			over := make(chan error)
			go func() {
				_, err := stream.drain()
				over <- err
			}()
			stream.finish(<-over)
		}, true},
		{"stream-opened-elsewhere", func(s *scene, name string) {
			opened := make(chan *streamed)
			go func() { opened <- s.open(name, serverStreams, s.plain, call{do: "send 3"}) }()
			stream := <-opened
			stream.send("one")
			stream.CloseSend()
			_, err := stream.drain()
			stream.finish(err)
		}, true},
		{"stream-retried", func(s *scene, name string) {
			stream := s.open(name, bothStreams, s.retrying, call{do: "fail-twice"})
			_, err := stream.receive()
			stream.finish(err)
		}, true},
		{"handler-stream", func(s *scene, name string) { s.echo(name, s.overTLS, call{}, 3) }, true},
		{"health-watch", func(s *scene, name string) { s.watch(name) }, false},
		{"reflection", func(s *scene, name string) { s.reflect(name) }, false},
	}
}

// hidden is the case of a stream that an interceptor hides; its client has no span, so it is not listed.
var hidden = row{"stream-hidden", func(s *scene, name string) {
	connection := dial(s.plain.target, grpc.WithStreamInterceptor(hiding))
	defer connection.Close()
	s.echo(name, connection, call{}, 1)
}, false}

// elsewhereHandled is the case of a stream that a handler uses on other goroutines; it is not listed.
var elsewhereHandled = row{"stream-elsewhere", func(s *scene, name string) {
	stream := s.open(name, bothStreams, s.plain, call{do: "echo-elsewhere"})
	for i := 0; i < 5; i++ {
		if err := stream.send("one"); err != nil {
			log.Fatal(err)
		}
	}
	stream.CloseSend()
	_, err := stream.drain()
	stream.finish(err)
}, false}

// receiveAll receives so many messages and the end.
func (s *scene) receiveAll(name string, to *remote, do string, messages int) {
	stream := s.open(name, serverStreams, to, call{do: do})
	stream.send("send them")
	stream.CloseSend()
	received, err := stream.drain()
	if received != messages {
		log.Fatalf("%s: %d messages, then %v", name, received, err)
	}
	stream.finish(err)
}

// collect sends so many messages, and receives one.
func (s *scene) collect(name string, messages int) {
	stream := s.open(name, clientStreams, s.plain, call{do: "collect"})
	for i := 0; i < messages; i++ {
		if err := stream.send("a message"); err != nil {
			log.Fatal(err)
		}
	}
	stream.CloseSend()
	_, err := stream.receive()
	stream.finish(err)
}

// waiting has a stream that is ended in some way once the handler has sent two messages and waits.
func (s *scene) waiting(name string, to *remote, c call, end func()) {
	c.do = "send-and-wait 2"
	stream := s.open(name, bothStreams, to, c)
	<-s.started.channel
	for i := 0; i < 2; i++ {
		if _, err := stream.receive(); err != nil {
			log.Fatal(err)
		}
	}
	end()
	_, err := stream.drain()
	stream.finish(err)
	time.Sleep(50 * time.Millisecond) // the handler is a little later
}

// watch and reflect call by generated code.
func (s *scene) watch(name string) {
	ctx, cancel := context.WithCancel(context.Background())
	c := call{ctx: ctx, method: "/grpc.health.v1.Health/Watch"}
	truth := c.truth(name, "", s.plain).begin()
	watch, err := healthpb.NewHealthClient(s.plain).Watch(c.context(name), &healthpb.HealthCheckRequest{Service: "known"})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		log.Fatal(err)
	}
	cancel()
	_, err = watch.Recv()
	s.truth.Write(truth.finish(err))
	time.Sleep(50 * time.Millisecond) // the handler is a little later
}

func (s *scene) reflect(name string) {
	c := call{method: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"}
	truth := c.truth(name, "", s.plain).begin()
	stream, err := reflectionpb.NewServerReflectionClient(s.plain).ServerReflectionInfo(c.context(name))
	if err == nil {
		err = stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		log.Fatal(err)
	}
	stream.CloseSend()
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		err = nil
	}
	s.truth.Write(truth.finish(err))
}
