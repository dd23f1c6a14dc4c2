// Command rpc serves and calls by gRPC and writes down what really happened: with the newest release of grpc-go that
// the Go release compiles.
package main

import (
	"google.golang.org/grpc"
	"lightfoot.example/rpcs"
)

func main() {
	rpcs.NewClient = grpc.NewClient
	rpcs.Main()
}
