// The kit builds with versions/goVERSION.mod, because each release of golang.org/x/net supports its own range of Go releases. This
// file only marks the folder as a module.
module lightfoot.example/propagationhttp2

go 1.21
