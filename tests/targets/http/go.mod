// The kit builds with a copy of this file whose go line names the toolchain's own version: that line also chooses the
// defaults of GODEBUG, for example whether ServeMux understands patterns.
module lightfoot.example/http

go 1.21
