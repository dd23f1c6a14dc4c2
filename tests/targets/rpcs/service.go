package rpcs

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"lightfoot.example/witness"
)

// The services. Each call has a method of its own, which is its number: /truth.Unary/N17.
const (
	unaryService        = "truth.Unary"
	clientStreamService = "truth.ClientStream"
	serverStreamService = "truth.ServerStream"
	bothStreamsService  = "truth.BothStreams"
)

// methods is how many calls a program can make.
const methods = 1 << 15

var (
	clientStreams = &grpc.StreamDesc{StreamName: "ClientStream", ClientStreams: true}
	serverStreams = &grpc.StreamDesc{StreamName: "ServerStream", ServerStreams: true}
	bothStreams   = &grpc.StreamDesc{StreamName: "BothStreams", ClientStreams: true, ServerStreams: true}
)

// register makes a server one of ours.
func (s *scene) register(server *grpc.Server) *grpc.Server {
	for _, description := range s.descriptions() {
		server.RegisterService(description, nil)
	}
	return server
}

// descriptions are those of the services, as generated code has them.
func (s *scene) descriptions() []*grpc.ServiceDesc {
	unary := &grpc.ServiceDesc{ServiceName: unaryService}
	streams := []*grpc.ServiceDesc{
		{ServiceName: clientStreamService}, {ServiceName: serverStreamService}, {ServiceName: bothStreamsService},
	}
	for i := 0; i < methods; i++ {
		name := "N" + strconv.Itoa(i)
		unary.Methods = append(unary.Methods, grpc.MethodDesc{MethodName: name, Handler: s.serveUnary})
		for j, kind := range []*grpc.StreamDesc{clientStreams, serverStreams, bothStreams} {
			streams[j].Streams = append(streams[j].Streams, grpc.StreamDesc{
				StreamName: name, ClientStreams: kind.ClientStreams, ServerStreams: kind.ServerStreams,
				Handler: s.serveStream,
			})
		}
	}
	return append(streams, unary)
}

func (s *scene) serveUnary(
	_ interface{}, ctx context.Context, decode func(interface{}) error, interceptor grpc.UnaryServerInterceptor,
) (answer interface{}, err error) {
	method, _ := grpc.Method(ctx)
	truth := handling(ctx, method)
	defer func() {
		truth.End = witness.BootTime()
		s.truth.Write(truth)
	}()
	request := new(wrapperspb.StringValue)
	if err = decode(request); err == nil {
		handler := func(ctx context.Context, request interface{}) (interface{}, error) {
			return s.answer(ctx, truth, request.(*wrapperspb.StringValue))
		}
		if interceptor == nil {
			answer, err = handler(ctx, request)
		} else {
			answer, err = interceptor(ctx, request, &grpc.UnaryServerInfo{FullMethod: method}, handler)
		}
	}
	truth.finish(err)
	return answer, err
}

func (s *scene) serveStream(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	truth := handling(stream.Context(), method)
	defer func() {
		truth.End = witness.BootTime()
		s.truth.Write(truth)
	}()
	truth.Messages = new([2]int64)
	err := s.answerStream(&countedServer{stream, truth.Messages}, truth)
	truth.finish(err)
	return err
}

// next is the number and the method of a call that a service has not had.
func next(service string) (int64, string) {
	number := witness.Number()
	if number >= methods {
		log.Fatalf("this program makes no more than %d calls", methods)
	}
	return number, fmt.Sprintf("/%s/N%d", service, number)
}

// number is that of a method; 0 if it is nobody's.
func number(method string) int64 {
	_, text, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/N")
	number, _ := strconv.ParseInt(text, 10, 64)
	return number
}

// stub is what generated code calls through.
type stub struct{ cc grpc.ClientConnInterface }

func (c *stub) call(
	ctx context.Context, method string, in *wrapperspb.StringValue, options ...grpc.CallOption,
) (*wrapperspb.StringValue, error) {
	out := new(wrapperspb.StringValue)
	err := c.cc.Invoke(ctx, method, in, out, options...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// open begins a stream as generated code does.
func (c *stub) open(
	ctx context.Context, kind *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (*opened, error) {
	stream, err := c.cc.NewStream(ctx, kind, method, options...)
	if err != nil {
		return nil, err
	}
	return &opened{ClientStream: stream}, nil
}

// opened is a stream with its messages' type.
type opened struct {
	grpc.ClientStream
	// messages are those sent and received.
	messages [2]int64
}

func (o *opened) send(text string) error {
	err := o.ClientStream.SendMsg(wrapperspb.String(text))
	if err == nil {
		o.messages[0]++
	}
	return err
}

func (o *opened) receive() (string, error) {
	message := new(wrapperspb.StringValue)
	if err := o.ClientStream.RecvMsg(message); err != nil {
		return "", err
	}
	o.messages[1]++
	return message.Value, nil
}

// countedServer counts the messages that are sent and received.
type countedServer struct {
	grpc.ServerStream
	messages *[2]int64
}

func (c *countedServer) SendMsg(message interface{}) error {
	err := c.ServerStream.SendMsg(message)
	if err == nil {
		c.messages[0]++
	}
	return err
}

func (c *countedServer) RecvMsg(message interface{}) error {
	err := c.ServerStream.RecvMsg(message)
	if err == nil {
		c.messages[1]++
	}
	return err
}
