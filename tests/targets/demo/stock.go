package main

import (
	"context"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What protoc would write of
//
//	service Stock { rpc Item(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
var service = grpc.ServiceDesc{
	ServiceName: "shop.Stock",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Item", Handler: handleItem}},
}

func handleItem(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	id := new(wrapperspb.StringValue)
	if err := decode(id); err != nil {
		return nil, err
	}
	return server.(*stock).item(ctx, id)
}

func askItem(ctx context.Context, cc grpc.ClientConnInterface, id string) (string, error) {
	item := new(wrapperspb.StringValue)
	if err := cc.Invoke(ctx, "/shop.Stock/Item", wrapperspb.String(id), item); err != nil {
		return "", err
	}
	return item.Value, nil
}

type stock struct {
	prices   string
	passesOn bool
}

func serveStock(listener net.Listener, stock *stock) error {
	server := grpc.NewServer()
	server.RegisterService(&service, stock)
	return server.Serve(listener)
}

func dialStock(address string) *grpc.ClientConn {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

// item asks for the price, unless there is no such item.
func (s *stock) item(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	time.Sleep(time.Duration(rand.Intn(5)) * time.Millisecond)
	switch id.Value {
	case "7":
		return nil, status.Error(codes.Internal, "the shelf fell down")
	case "9":
		return nil, status.Error(codes.NotFound, "no such item")
	}
	request, err := http.NewRequestWithContext(ctx, "GET", s.prices+"/prices/"+id.Value, nil)
	if err != nil {
		return nil, err
	}
	if s.passesOn {
		for _, parent := range metadata.ValueFromIncomingContext(ctx, "traceparent") {
			request.Header.Set("Traceparent", parent)
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	defer answer.Body.Close()
	price, err := io.ReadAll(answer.Body)
	return wrapperspb.String("in stock for " + string(price)), err
}

// product asks the stock on behalf of a request.
func product(w http.ResponseWriter, r *http.Request, stock *grpc.ClientConn, passesOn bool) {
	ctx := r.Context()
	if passesOn {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", r.Header.Get("Traceparent"))
	}
	item, err := askItem(ctx, stock, r.PathValue("id"))
	switch status.Code(err) {
	case codes.OK:
		io.WriteString(w, item)
	case codes.NotFound:
		http.NotFound(w, r)
	default:
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}
