module lightfoot.example/xnet

go 1.25.0

require (
	golang.org/x/net v0.55.0
	lightfoot.example/streams v0.0.0
	lightfoot.example/witness v0.0.0
)

require golang.org/x/text v0.37.0 // indirect

replace lightfoot.example/streams => ../streams

replace lightfoot.example/witness => ../witness
