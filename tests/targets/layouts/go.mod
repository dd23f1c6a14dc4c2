module lightfoot.example/layouts

go 1.21
