module lightfoot.example/gorilla

go 1.21

require (
	github.com/gorilla/mux v1.8.1
	lightfoot.example/witness v0.0.0
)

replace lightfoot.example/witness => ../witness
