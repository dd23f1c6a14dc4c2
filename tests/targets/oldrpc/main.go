// Command oldrpc serves and calls by gRPC and writes down what really happened: with releases of grpc-go that are older
// than the Go release.
package main

import "lightfoot.example/rpcs"

func main() { rpcs.Main() }
