module lightfoot.example/chi

go 1.25

require (
	github.com/go-chi/chi/v5 v5.5.0
	lightfoot.example/witness v0.0.0
)

replace lightfoot.example/witness => ../witness
