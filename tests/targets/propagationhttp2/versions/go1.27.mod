module lightfoot.example/propagationhttp2

go 1.27

require (
	golang.org/x/net v0.62.0
	lightfoot.example/commands v0.0.0
)

require golang.org/x/text v0.43.0 // indirect

replace lightfoot.example/commands => ../commands

