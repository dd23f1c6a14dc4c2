package rpcs

// nested is the case of a call that makes another, which takes long; it is not listed.
var nested = row{"long-nested", func(s *scene, name string) {
	s.unary(name, s.plain, call{do: "nest rpc-slow"})
}, false}

// related are the cases of calls that are made on behalf of something that is served.
func related() []row {
	served := func(relation string) row {
		return row{"served-" + relation, func(s *scene, name string) {
			s.unary(name, s.plain, call{do: "nest " + relation})
		}, true}
	}
	streamed := func(relation string) row {
		return row{"streamed-" + relation, func(s *scene, name string) {
			stream := s.open(name, serverStreams, s.plain, call{do: "nest " + relation})
			stream.send("one")
			stream.CloseSend()
			_, err := stream.drain()
			stream.finish(err)
		}, true}
	}
	web := func(relation string) row {
		return row{"web-" + relation, func(s *scene, _ string) { s.ask(relation) }, true}
	}
	return []row{
		served("rpc-context"), served("rpc-background"), served("rpc-pool-context"), served("rpc-pool-bare"),
		served("rpc-spawned"), served("rpc-spawned-context"), served("stream-context"), served("stream-background"),
		served("stream-pool-context"), served("http-context"), served("http-background"),
		served("http-pool-context"), served("both"), served("deep"),
		streamed("rpc-context"), streamed("rpc-background"), streamed("rpc-spawned"), streamed("stream-context"),
		streamed("http-context"), streamed("http-background"), streamed("http-pool-context"),
		web("rpc-context"), web("rpc-background"), web("rpc-pool-context"), web("rpc-spawned"), web("stream-context"),
		web("both"), web("deep"),
		{"client-interceptor", func(s *scene, name string) { s.unary(name, s.nosy, call{}) }, true},
		{"client-interceptor-http", func(s *scene, name string) { s.unary(name, s.curious, call{}) }, true},
		{"client-stream-interceptor", func(s *scene, name string) { s.echo(name, s.nosyStreams, call{}, 1) }, true},
		{"server-interceptor", func(s *scene, name string) { s.unary(name, s.checked, call{}) }, true},
		{"server-interceptor-stream", func(s *scene, name string) { s.echo(name, s.checked, call{}, 1) }, true},
	}
}
