// The kit builds with versions/goVERSION.mod, because each grpc-go release supports its own range of Go releases. This
// file only marks the folder as a module.
module lightfoot.example/hostilegrpc

go 1.21
