module lightfoot.example/callbacks

go 1.21
