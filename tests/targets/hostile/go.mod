// The kit builds with a copy of this file whose go line names the toolchain's own version.
module lightfoot.example/hostile

go 1.21

require (
	lightfoot.example/commands v0.0.0
	lightfoot.example/garbage v0.0.0
)

replace lightfoot.example/commands => ../commands

replace lightfoot.example/garbage => ../garbage
