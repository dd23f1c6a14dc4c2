module lightfoot.example/garbage

go 1.21

require lightfoot.example/commands v0.0.0

replace lightfoot.example/commands => ../commands
