module lightfoot.example/demo

go 1.22
