module lightfoot.example/http2

go 1.21

require golang.org/x/net v0.12.0

require golang.org/x/text v0.11.0 // indirect
