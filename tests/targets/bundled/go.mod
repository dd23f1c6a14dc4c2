// The kit builds with a copy of this file whose go line names the toolchain's own version.
module lightfoot.example/bundled

go 1.21

require (
	lightfoot.example/streams v0.0.0
	lightfoot.example/witness v0.0.0
)

replace lightfoot.example/streams => ../streams

replace lightfoot.example/witness => ../witness
