// Command rpc serves and calls by gRPC and writes down what really happened: with the newest release of grpc-go that
// the Go release compiles.
package main

import "lightfoot.example/rpcs"

func main() { rpcs.Main() }
