// What the other programs write their truth with; they take it from here by a replace line.
module lightfoot.example/witness

go 1.21
