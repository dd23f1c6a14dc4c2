// Hostilegrpc serves and calls by grpc-go and is, wherever a tracer looks, what no program should be.
//
// It calls the functions of grpc-go that tracers watch by their addresses, with arguments of its own making, and makes calls whose names
// and statuses would steer a terminal. What crashes is recovered from.
package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"lightfoot.example/garbage"
)

func main() {
	garbage.Tolerate()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(refuse), grpc.InTapHandle(tapped))
	go server.Serve(listener)
	dial := func(options ...grpc.DialOption) *grpc.ClientConn {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
		// grpc.NewClient is newer than the oldest grpc-go that is built here.
		connection, err := grpc.Dial(listener.Addr().String(), options...)
		if err != nil {
			panic(err)
		}
		return connection
	}
	open, refusing := dial(), dial(grpc.WithUnaryInterceptor(refuseCall), grpc.WithStreamInterceptor(refuseStream))
	open.Invoke(context.Background(), "/hostile/Call", &emptypb.Empty{}, &emptypb.Empty{})
	cases := append(served(server, <-streams), refused(refusing)...)
	garbage.Obey(append(cases, exchanged(open)...))
}

// streams are those of the first calls.
var streams = make(chan grpc.ServerTransportStream, 1)

// refuse answers any call with the status that it asks for.
func refuse(_ any, stream grpc.ServerStream) error {
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	select {
	case streams <- grpc.ServerTransportStreamFromContext(stream.Context()):
	default:
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	said := ""
	for _, text := range incoming.Get("say-bin") {
		said = text
	}
	return status.Error(codes.Internal, said)
}
