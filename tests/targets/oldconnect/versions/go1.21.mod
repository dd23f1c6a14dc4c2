module lightfoot.example/oldconnect

go 1.21.0

replace lightfoot.example/commands => ../commands

require (
	github.com/bufbuild/connect-go v1.10.0
	google.golang.org/protobuf v1.31.0
	lightfoot.example/commands v0.0.0
)
