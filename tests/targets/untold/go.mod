module example.com/untold

go 1.22
