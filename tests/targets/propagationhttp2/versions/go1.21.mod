module lightfoot.example/propagationhttp2

go 1.21

require (
	golang.org/x/net v0.35.0
	lightfoot.example/commands v0.0.0
)

require golang.org/x/text v0.22.0 // indirect

replace lightfoot.example/commands => ../commands

