// The kit builds with versions/goVERSION.mod, because each release of the router supports its own range of Go releases.
// This file only marks the folder as a module.
module lightfoot.example/gin

go 1.21
