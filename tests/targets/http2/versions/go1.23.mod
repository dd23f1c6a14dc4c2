module lightfoot.example/http2

go 1.23

require golang.org/x/net v0.30.0

require golang.org/x/text v0.19.0 // indirect
