package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"lightfoot.example/witness"
)

// connection sends requests one after the other.
type connection struct {
	p     *program
	net   net.Conn
	input *bufio.Reader
}

func (p *program) connect() *connection {
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		log.Fatal(err)
	}
	return &connection{p, c, bufio.NewReader(c)}
}

func (c *connection) close() { c.net.Close() }

// ask sends a request and waits for its whole response.
func (c *connection) ask(name, traceparent string) {
	number := witness.Number()
	answered := make(chan struct{})
	c.p.answered.Store(number, answered)
	if traceparent != "" {
		traceparent = "Traceparent: " + traceparent + "\r\n"
	}
	fmt.Fprintf(c.net, "GET %s HTTP/1.1\r\nHost: parents.test\r\n%s\r\n", path(name, number), traceparent)
	response, err := http.ReadResponse(c.input, nil)
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	close(answered)
	c.p.answered.Delete(number)
}

// once sends one request over a connection of its own.
func (p *program) once(name, traceparent string) {
	c := p.connect()
	defer c.close()
	c.ask(name, traceparent)
}

func path(name string, number int64) string { return fmt.Sprintf("/%s/%d", name, number) }

func (p *program) run(name string) {
	for _, c := range rows() {
		if c.name == name {
			if c.run != nil {
				c.run(p)
			} else {
				p.once(name, "")
			}
			return
		}
	}
	log.Fatalf("no case %q", name)
}

func (p *program) chaos(count, connections int, seed int64) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	over := make(chan struct{})
	go func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC()
			}
		}
	}()
	names := chaotic()
	var sent atomic.Int64
	var all sync.WaitGroup
	for i := 0; i < connections; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			random := rand.New(rand.NewSource(seed + int64(i)))
			c := p.connect()
			defer func() { c.close() }()
			for sent.Add(1) <= int64(count) {
				if random.Intn(50) == 0 {
					c.close()
					c = p.connect()
				}
				c.ask(names[random.Intn(len(names))], traceparent(random))
			}
		}(i)
	}
	all.Wait()
	close(over)
	// No goroutine stays behind.
	p.pending.Wait()
	p.kept.empty((*keptGoroutine).end)
	p.lazy.empty((*keptGoroutine).end)
	p.lent.empty(func(*lentContext) {})
}

// traceparent is absent as often as not; some are not sampled.
func traceparent(random *rand.Rand) string {
	sampled := "01"
	switch random.Intn(20) {
	case 0, 1:
		sampled = "00"
	case 2, 3, 4, 5, 6, 7, 8, 9:
	default:
		return ""
	}
	return fmt.Sprintf("00-%016x%016x-%016x-%s", random.Uint64(), random.Uint64()|1, random.Uint64()|1, sampled)
}

func (p *program) crowd(count int) {
	crowd.Store(newBarrier(count))
	var all sync.WaitGroup
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			p.once("crowd", "")
		}()
	}
	all.Wait()
}

// heldRequests are those between hold and release.
type heldRequests struct {
	arrived, ended sync.WaitGroup
	release        chan struct{}
}

func (p *program) hold(count int) {
	p.held.release = make(chan struct{})
	p.held.arrived.Add(count)
	for i := 0; i < count; i++ {
		p.held.ended.Add(1)
		go func() {
			defer p.held.ended.Done()
			c := p.connect()
			defer c.close()
			c.ask("mid-life", "")
			// What comes later on the same connection is like anything else.
			c.ask("context", "")
			c.ask("background", "")
		}()
	}
	p.held.arrived.Wait()
}

func (p *program) release() {
	close(p.held.release)
	p.held.ended.Wait()
}

// market is where handlers leave things for other requests' handlers.
type market[T any] struct {
	mutex sync.Mutex
	goods []T
}

func (m *market[T]) offer(good T) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.goods = append(m.goods, good)
}

// take gives the one that was offered last.
func (m *market[T]) take() (good T, found bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.goods) == 0 {
		return good, false
	}
	last := len(m.goods) - 1
	good, m.goods = m.goods[last], m.goods[:last]
	return good, true
}

// wait returns when there is something to take.
func (m *market[T]) wait() {
	for {
		m.mutex.Lock()
		offered := len(m.goods)
		m.mutex.Unlock()
		if offered > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (m *market[T]) empty(end func(T)) {
	for good, found := m.take(); found; good, found = m.take() {
		end(good)
	}
}

// barrier lets all go on once as many as are expected have come.
type barrier struct{ missing sync.WaitGroup }

func newBarrier(count int) *barrier {
	b := &barrier{}
	b.missing.Add(count)
	return b
}

func (b *barrier) wait() {
	b.missing.Done()
	b.missing.Wait()
}

var crowd atomic.Pointer[barrier]
