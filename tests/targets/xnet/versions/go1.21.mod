module lightfoot.example/xnet

go 1.21

require (
	golang.org/x/net v0.35.0
	lightfoot.example/streams v0.0.0
	lightfoot.example/witness v0.0.0
)

require golang.org/x/text v0.22.0 // indirect

replace lightfoot.example/streams => ../streams

replace lightfoot.example/witness => ../witness
