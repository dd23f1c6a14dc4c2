// Programs that use this module choose the release of grpc-go; it compiles with all from 1.40 on.
module lightfoot.example/rpcs

go 1.21

require (
	golang.org/x/net v0.12.0
	google.golang.org/grpc v1.40.0
	google.golang.org/protobuf v1.28.1
	lightfoot.example/commands v0.0.0
	lightfoot.example/witness v0.0.0
)

replace lightfoot.example/commands => ../commands

replace lightfoot.example/witness => ../witness
