module lightfoot.example/http2batch

go 1.21

require golang.org/x/net v0.12.0

require golang.org/x/text v0.11.0 // indirect
