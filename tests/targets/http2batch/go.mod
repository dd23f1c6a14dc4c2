// The kit builds with versions/goVERSION.mod, so that each Go release meets the golang.org/x/net of its time. This file only
// marks the folder as a module.
module lightfoot.example/http2batch

go 1.21
