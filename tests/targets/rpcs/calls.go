package rpcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"lightfoot.example/witness"
)

// call is how one is made.
type call struct {
	// ctx is context.Background() if it is nil.
	ctx context.Context
	// do is what the handler is to do.
	do      string
	options []grpc.CallOption
	// metadata goes with the call: keys and values in turns.
	metadata []string
	message  string
	cause    Cause
	// method is the full one, where % stands for the call's number; one of our services' if it is empty.
	method string
}

// context says what the handler is to do.
func (c call) context(name string) context.Context {
	ctx := c.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	pairs := append([]string{"x-case", name, "x-do", c.do}, c.metadata...)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// truth is that of a call that is about to be made.
func (c call) truth(name, service string, to *remote) Called {
	truth := Called{Case: name, Method: c.method, Target: to.target, Cause: c.cause}
	if truth.Method == "" {
		truth.Number, truth.Method = next(service)
	} else if strings.Contains(truth.Method, "%") {
		truth.Number = witness.Number()
		truth.Method = strings.Replace(truth.Method, "%", fmt.Sprint(truth.Number), 1)
	}
	return truth
}

// unary makes a call and writes its truth.
func (s *scene) unary(name string, to *remote, c call) (string, error) {
	ctx, truth, client := c.context(name), c.truth(name, unaryService, to), &stub{to.ClientConn}
	var other peer.Peer
	options, asks := c.options, truth.Number%2 == 0
	if asks {
		options = append(options[:len(options):len(options)], grpc.Peer(&other))
	}
	truth = truth.begin()
	answer, err := client.call(ctx, truth.Method, wrapperspb.String(c.message), options...)
	truth = truth.finish(err)
	if asks {
		from := end(other.Addr)
		truth.Peer = &from
	}
	s.truth.Write(truth)
	return answer.GetValue(), err
}

// streamed is a stream that a client has begun, and its truth.
type streamed struct {
	*opened
	s     *scene
	truth Called
}

// open begins a stream; there is none, and its truth is written, where that fails.
func (s *scene) open(name string, kind *grpc.StreamDesc, to *remote, c call) *streamed {
	service := "truth." + kind.StreamName
	ctx, truth, client := c.context(name), c.truth(name, service, to), &stub{to.ClientConn}
	truth = truth.begin()
	stream, err := client.open(ctx, kind, truth.Method, c.options...)
	if err != nil {
		s.truth.Write(truth.finish(err))
		return nil
	}
	return &streamed{stream, s, truth}
}

// finish writes the truth of a stream that has ended with that error.
func (t *streamed) finish(err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	truth := t.truth.finish(err)
	truth.Messages = &t.messages
	t.s.truth.Write(truth)
}

// finishLater does the same where the stream ends on another goroutine, whenever that runs.
func (t *streamed) finishLater(err error) {
	truth := t.truth.finish(err)
	truth.End, truth.Messages = 0, &t.messages
	t.s.truth.Write(truth)
	time.Sleep(50 * time.Millisecond)
}

// drain receives all that comes.
func (t *streamed) drain() (messages int, err error) {
	for {
		if _, err = t.receive(); err != nil {
			return messages, err
		}
		messages++
	}
}

// echo sends messages on a stream of both sides, receives them again, and ends it.
func (s *scene) echo(name string, to *remote, c call, messages int) error {
	c.do = "echo"
	stream := s.open(name, bothStreams, to, c)
	if stream == nil {
		return errors.New("there is no stream")
	}
	for i := 0; i < messages; i++ {
		if err := stream.send(fmt.Sprint(i)); err != nil {
			log.Fatal(err)
		}
		if _, err := stream.receive(); err != nil {
			log.Fatal(err)
		}
	}
	stream.CloseSend()
	_, err := stream.drain()
	stream.finish(err)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// cutting is a connection that can be cut below gRPC: what has been dialled.
type cutting struct{ dialled chan net.Conn }

func (c *cutting) dial(ctx context.Context, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		select {
		case c.dialled <- connection:
		default: // only the first one is cut
		}
	}
	return connection, err
}

// fragile is a connection to the same server, and what cuts it.
func fragile(to *remote) (connection *remote, cut func()) {
	c := &cutting{make(chan net.Conn, 1)}
	return dial(to.target, grpc.WithContextDialer(c.dial)), func() { (<-c.dialled).Close() }
}

func connect(address string) net.Conn {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

// raw is a codec whose messages are bytes of any kind.
type raw struct{ fails bool }

func (r raw) Marshal(interface{}) ([]byte, error) {
	if r.fails {
		return nil, errors.New("there is no way to write this")
	}
	return []byte{0xff, 0xff, 0xff}, nil
}

func (raw) Unmarshal([]byte, interface{}) error { return nil }

func (raw) Name() string { return "proto" }
