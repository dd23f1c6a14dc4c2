// What servers of HTTP/2 serve.
module lightfoot.example/streams

go 1.21

require lightfoot.example/witness v0.0.0

replace lightfoot.example/witness => ../witness
