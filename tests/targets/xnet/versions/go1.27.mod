module lightfoot.example/xnet

go 1.27

require (
	golang.org/x/net v0.62.0
	lightfoot.example/streams v0.0.0
	lightfoot.example/witness v0.0.0
)

require golang.org/x/text v0.43.0 // indirect

replace lightfoot.example/streams => ../streams

replace lightfoot.example/witness => ../witness
