// Command propagationgrpc calls by gRPC in all the ways that matter to whoever adds a header to the calls.
//
// It prints "ready" and obeys lines of standard input until that ends:
//
//	serve LIMIT                serves every method, takes so many bytes of headers if that is said, and prints the address
//	seen                       prints what was served since the last time, a call a line: its method, and the values of its traceparent
//	states                     prints the values of tracestate of each of these, separated by bars
//	ask ADDRESS NAME=VALUE…    makes a call with this metadata, whose values are as in a query; one that has "to" is handed on to there
//	list                       prints the cases, one a line
//	run CASE ADDRESS           makes the calls of a case over a connection of its own
//	load COUNT WORKERS ADDRESS makes COUNT calls, WORKERS at a time, and prints how many failed
//
// and prints "done" after each. The method of a call is /case.CASE/METHOD.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"lightfoot.example/commands"
)

// ours is the trace context of calls that have one.
const ours = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

func main() {
	path := flag.String("truth", "", "a file that stays empty: the server knows the truth")
	flag.Parse()
	if err := os.WriteFile(*path, nil, 0o644); err != nil {
		log.Fatal(err)
	}
	commands.Obey(func(words commands.Command) bool {
		switch words[0] {
		case "serve":
			fmt.Println(serve(words.Number(1, 0)))
		case "seen":
			for _, line := range seen.take() {
				fmt.Println(line)
			}
		case "states":
			for _, line := range states.take() {
				fmt.Println(line)
			}
		case "ask":
			ask(words[1], words[2:])
		case "list":
			for _, c := range cases {
				fmt.Println(c.name)
			}
		case "run":
			to := dial(words[2], words[1])
			find(words[1])(to)
			to.Close()
		case "load":
			fmt.Println(load(words.Number(1, 1), words.Number(2, 1), words[3]))
		default:
			return false
		}
		return true
	})
}

// lines are what the server was asked.
type lines struct {
	sync.Mutex
	all []string
}

var seen, states lines

func (l *lines) add(line string) {
	l.Lock()
	defer l.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) take() (all []string) {
	l.Lock()
	defer l.Unlock()
	all, l.all = l.all, nil
	return all
}

func serve(limit int) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	options := []grpc.ServerOption{grpc.UnknownServiceHandler(answer)}
	if limit > 0 {
		options = append(options, grpc.MaxHeaderListSize(uint32(limit)))
	}
	go grpc.NewServer(options...).Serve(listener)
	return listener.Addr().String()
}

// answer waits for all messages and sends one.
func answer(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	received, _ := metadata.FromIncomingContext(stream.Context())
	seen.add(strings.Join(append([]string{method}, received.Get("traceparent")...), " "))
	states.add(strings.Join(received.Get("tracestate"), "|"))
	for {
		err := stream.RecvMsg(new(wrapperspb.StringValue))
		if errors.Is(err, io.EOF) {
			for _, address := range received.Get("to") {
				handOn(stream.Context(), address, received.Get("own"))
			}
			return stream.SendMsg(wrapperspb.String("answer"))
		}
		if err != nil {
			return err
		}
	}
}

// connection is one with the name of the case that it is for.
type connection struct {
	*grpc.ClientConn
	name string
}

func dial(address, name string, options ...grpc.DialOption) *connection {
	options = append([]grpc.DialOption{grpc.WithInsecure()}, options...)
	made, err := grpc.Dial(address, options...)
	if err != nil {
		log.Fatal(err)
	}
	return &connection{made, name}
}

// method is the path of a method of the case, unless it is one already.
func (c *connection) method(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/case." + c.name + "/" + name
}

// call makes a unary call.
func (c *connection) call(ctx context.Context, name string) error {
	return c.Invoke(ctx, c.method(name), wrapperspb.String("question"), new(wrapperspb.StringValue))
}

func (c *connection) must(ctx context.Context, name string) {
	if err := c.call(ctx, name); err != nil {
		log.Fatal(err)
	}
}

// stream sends messages over a stream, and waits for its end.
func (c *connection) stream(ctx context.Context, name string, messages int) error {
	description := &grpc.StreamDesc{StreamName: name, ClientStreams: true, ServerStreams: true}
	stream, err := c.NewStream(ctx, description, c.method(name))
	if err != nil {
		return err
	}
	for i := 0; i < messages; i++ {
		if err := stream.SendMsg(wrapperspb.String("question")); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// load makes unary calls and streams from many goroutines over a few connections, and counts those that fail.
func load(count, workers int, address string) (failed int64) {
	connections := make([]*connection, 3)
	for i := range connections {
		connections[i] = dial(address, "load")
		defer connections[i].Close()
	}
	work := make(chan int)
	var all sync.WaitGroup
	for i := 0; i < workers; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range work {
				ctx, to := context.Background(), connections[number%len(connections)]
				cancel := func() {}
				if number%5 == 0 {
					ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", ours)
				}
				if number%7 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
				}
				var err error
				if name := fmt.Sprint("N", number); number%4 == 0 {
					err = to.stream(ctx, name, number%3)
				} else {
					err = to.call(ctx, name)
				}
				cancel()
				if err != nil {
					log.Print(err)
					atomic.AddInt64(&failed, 1)
				}
			}
		}()
	}
	for i := 0; i < count; i++ {
		work <- i
	}
	close(work)
	all.Wait()
	return failed
}
