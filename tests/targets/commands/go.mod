module lightfoot.example/commands

go 1.21
