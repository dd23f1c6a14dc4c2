module lightfoot.example/propagationgrpc

go 1.21

require (
	google.golang.org/grpc v1.40.0
	google.golang.org/protobuf v1.28.1
	lightfoot.example/commands v0.0.0
)

require (
	github.com/golang/protobuf v1.5.0 // indirect
	golang.org/x/net v0.12.0 // indirect
	golang.org/x/sys v0.10.0 // indirect
	golang.org/x/text v0.11.0 // indirect
	google.golang.org/genproto v0.0.0-20200526211855-cb27e3aa2013 // indirect
)

replace lightfoot.example/commands => ../commands
