module lightfoot.example/oldrpc

go 1.26.0

require lightfoot.example/rpcs v0.0.0

require (
	github.com/golang/protobuf v1.5.2 // indirect
	golang.org/x/net v0.12.0 // indirect
	golang.org/x/sys v0.10.0 // indirect
	golang.org/x/text v0.11.0 // indirect
	google.golang.org/genproto v0.0.0-20230110181048-76db0878b65f // indirect
	google.golang.org/grpc v1.53.0 // indirect
	google.golang.org/protobuf v1.28.1 // indirect
	lightfoot.example/commands v0.0.0 // indirect
	lightfoot.example/witness v0.0.0 // indirect
)

replace lightfoot.example/commands => ../commands

replace lightfoot.example/rpcs => ../rpcs

replace lightfoot.example/witness => ../witness
