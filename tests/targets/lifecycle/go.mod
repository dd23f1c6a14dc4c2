module lightfoot.example/lifecycle

go 1.21
