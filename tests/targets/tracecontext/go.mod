// The kit builds with a copy of this file whose go line names the toolchain's own version.
module lightfoot.example/tracecontext

go 1.21

require (
	lightfoot.example/callbacks v0.0.0
	lightfoot.example/commands v0.0.0
)

replace (
	lightfoot.example/callbacks => ../callbacks
	lightfoot.example/commands => ../commands
)
