module lightfoot.example/connectgrpc

go 1.27.0

require (
	connectrpc.com/connect v1.21.1
	google.golang.org/protobuf v1.36.12
	lightfoot.example/commands v0.0.0
)

replace lightfoot.example/commands => ../commands
