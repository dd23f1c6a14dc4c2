module lightfoot.example/http2batch

go 1.25

require golang.org/x/net v0.42.0

require golang.org/x/text v0.27.0 // indirect
