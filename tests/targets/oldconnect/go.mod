// The kit builds with versions/goVERSION.mod. This file only marks the folder as a module.
module lightfoot.example/oldconnect

go 1.21
