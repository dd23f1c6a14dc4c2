// The kit builds with versions/goVERSION.mod, because each release of connect supports its own range of Go releases. This
// file only marks the folder as a module.
module lightfoot.example/connect

go 1.24
