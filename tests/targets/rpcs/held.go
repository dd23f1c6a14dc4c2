package rpcs

import "sync"

// held are the calls between hold and release.
type held struct {
	arrived, ended sync.WaitGroup
	release        chan struct{}
}

// hold makes calls and streams whose handlers wait.
func (s *scene) hold(count int) {
	s.held.release = make(chan struct{})
	s.held.arrived.Add(2 * count)
	for i := 0; i < count; i++ {
		s.held.ended.Add(2)
		go func() {
			defer s.held.ended.Done()
			s.unary("held", s.plain, call{do: "hold"})
			// What comes later on the same connection is like anything else.
			s.unary("after-held", s.plain, call{})
		}()
		go func() {
			defer s.held.ended.Done()
			stream := s.open("held", serverStreams, s.plain, call{do: "hold"})
			stream.CloseSend()
			_, err := stream.drain()
			stream.finish(err)
			s.echo("after-held", s.plain, call{}, 1)
		}()
	}
	s.held.arrived.Wait()
}

func (s *scene) release() {
	close(s.held.release)
	s.held.ended.Wait()
}
