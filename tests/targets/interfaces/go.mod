module lightfoot.example/interfaces

go 1.21
