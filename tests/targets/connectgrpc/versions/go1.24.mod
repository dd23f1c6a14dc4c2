module lightfoot.example/connectgrpc

go 1.24.0

require (
	connectrpc.com/connect v1.19.2
	google.golang.org/protobuf v1.36.9
	lightfoot.example/commands v0.0.0
)

replace lightfoot.example/commands => ../commands
