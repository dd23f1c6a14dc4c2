module lightfoot.example/oldrpc

go 1.25.0

require lightfoot.example/rpcs v0.0.0

require (
	golang.org/x/net v0.30.0 // indirect
	golang.org/x/sys v0.26.0 // indirect
	golang.org/x/text v0.19.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20241015192408-796eee8c2d53 // indirect
	google.golang.org/grpc v1.69.4 // indirect
	google.golang.org/protobuf v1.35.1 // indirect
	lightfoot.example/commands v0.0.0 // indirect
	lightfoot.example/witness v0.0.0 // indirect
)

replace lightfoot.example/commands => ../commands

replace lightfoot.example/rpcs => ../rpcs

replace lightfoot.example/witness => ../witness
