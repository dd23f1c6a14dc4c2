module lightfoot.example/cgo

go 1.21
