package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	requestTimeout = 10 * time.Second // longer than the members' own, so that their answer to a late request is seen
	refusedPause   = 10 * time.Millisecond
	redialPause    = 50 * time.Millisecond
	paceMin        = 200 * time.Microsecond
	sweepInterval  = 100 * time.Millisecond
	dialsAtOnce    = 128     // the listen queue of a port is short
	waitingMax     = 1 << 17 // requests that wait for a connection
)

// load is all requests of one kind: their schedule, their connections and what became of them.
type load struct {
	asked       *plan
	http        http
	rate        float64
	seed        uint64
	connections []*connection
	due         chan time.Time
	idle        atomic.Int64 // connections that wait for a request

	begin, opens, ends time.Time

	late              histogram // of the pacer alone
	mutex             sync.Mutex
	told              told
	admitted, refused histogram
}

// connection carries one request at a time.
type connection struct {
	load   *load
	host   string
	chance *rand.Rand

	mutex    sync.Mutex // of the next three: the sweeper closes what is late
	open     net.Conn
	since    time.Time // when the request in flight was sent; zero without one
	timedOut bool

	reader  *bufio.Reader
	request []byte
	filling []byte
}

func newLoad(asked *plan, kind http, rate float64, count int, seed uint64) *load {
	one := &load{asked: asked, http: kind, rate: rate, seed: seed, due: make(chan time.Time, waitingMax)}
	one.told.Errors = map[string]int{}
	filling := make([]byte, asked.PayloadBytes+1<<16)
	chance := rand.New(rand.NewPCG(seed, 1<<32))
	for at := range filling {
		filling[at] = "0123456789abcdef"[chance.IntN(16)]
	}
	for number := range count {
		parsed, err := url.Parse(asked.URLs[number%len(asked.URLs)])
		if err != nil {
			panic(err) // it was checked
		}
		one.connections = append(one.connections, &connection{
			load: one, host: parsed.Host, chance: rand.New(rand.NewPCG(seed, uint64(number))),
			filling: filling,
		})
	}
	return one
}

// connect opens every connection.
func (l *load) connect() error {
	var group sync.WaitGroup
	places := make(chan struct{}, dialsAtOnce)
	failures := make(chan error, len(l.connections))
	for _, one := range l.connections {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if err := one.dial(); err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

// run sends everything, and returns when all of it was answered or given up.
func (l *load) run() {
	var group sync.WaitGroup
	done := make(chan struct{})
	for _, one := range l.connections {
		if l.rate > 0 {
			group.Go(one.serve)
		} else {
			group.Go(one.repeat)
		}
	}
	go l.sweep(done)
	if l.rate > 0 {
		l.pace()
		close(l.due)
	}
	group.Wait()
	close(done)
}

// pace hands out requests when they are due.
func (l *load) pace() {
	chance := rand.New(rand.NewPCG(l.seed, 1<<33))
	at := 0.0
	for {
		gap := 1 / l.rate
		if l.asked.Arrivals == "poisson" {
			gap *= chance.ExpFloat64()
		}
		at += gap
		due := l.begin.Add(time.Duration(at * float64(time.Second)))
		if !due.Before(l.ends) {
			return
		}
		now := time.Now()
		if wait := due.Sub(now); wait > 0 {
			// Not for each request: to sleep costs more than to send.
			time.Sleep(max(wait, paceMin))
			now = time.Now()
		}
		counts := !due.Before(l.opens)
		if counts {
			l.told.Due++
			l.late.add(now.Sub(due))
			if l.idle.Load() <= int64(len(l.due)) {
				l.told.Waited++
			}
		}
		select {
		case l.due <- due:
		default:
			if counts {
				l.fail("never sent: too many waited for a connection")
			}
		}
	}
}

// sweep closes connections whose answer is overdue.
func (l *load) sweep(done <-chan struct{}) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			for _, one := range l.connections {
				one.timeOut(now)
			}
		}
	}
}

// result returns what became of the requests; call it when `run` has returned.
func (l *load) result() told {
	said := l.told
	if l.rate == 0 {
		said.Due = l.admitted.count
	}
	said.Admitted, said.Refused = l.admitted.count, l.refused.count
	said.P50, said.P99, said.Worst = l.admitted.quantile(0.5), l.admitted.quantile(0.99), l.admitted.quantile(1)
	said.RefusedP99 = l.refused.quantile(0.99)
	return said
}

// count notes what became of a request that was due in the window.
func (l *load) count(got answer, err error, took time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	switch {
	case err != nil:
		l.told.Errors[err.Error()]++
	case got.code/100 == 2:
		l.admitted.add(took)
	case got.code == 503 && got.retryAfter:
		l.refused.add(took)
	case got.code == 503:
		l.told.Errors["503 without Retry-After"]++
	default:
		l.told.Errors[fmt.Sprintf("answered %d", got.code)]++
	}
}

func (l *load) fail(cause string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.told.Errors[cause]++
}

// serve sends what becomes due (open loop).
func (c *connection) serve() {
	l := c.load
	for {
		l.idle.Add(1)
		due, more := <-l.due
		l.idle.Add(-1)
		if !more {
			c.close()
			return
		}
		counts := !due.Before(l.opens)
		if time.Since(due) > requestTimeout {
			if counts {
				l.fail("never sent: no connection was free in time")
			}
			continue
		}
		got, err := c.exchange()
		if counts {
			l.count(got, err, time.Since(due))
		}
	}
}

// repeat sends one request after the other until the window ends (closed loop).
func (c *connection) repeat() {
	l := c.load
	time.Sleep(time.Until(l.begin))
	for {
		sent := time.Now()
		if !sent.Before(l.ends) {
			c.close()
			return
		}
		got, err := c.exchange()
		now := time.Now()
		// What is answered in the window, as goodput is counted there.
		if !now.Before(l.opens) && now.Before(l.ends) {
			l.count(got, err, now.Sub(sent))
		}
		if err == nil && got.code/100 != 2 {
			// A member that refuses at once is not to be measured by how fast it refuses.
			time.Sleep(refusedPause)
		}
	}
}

// exchange sends one request and reads its answer; a lost connection is replaced.
func (c *connection) exchange() (answer, error) {
	c.request = c.load.http.encode(c.request[:0], c.host, c.chance.IntN(c.load.asked.Keys), c.filling)
	c.mutex.Lock()
	open := c.open
	c.since = time.Now()
	c.mutex.Unlock()
	got, err := exchange(open, c.reader, c.request)
	c.mutex.Lock()
	c.since = time.Time{}
	timedOut := c.timedOut
	c.timedOut = false
	c.mutex.Unlock()
	if err != nil || got.closes || timedOut {
		c.redial()
	}
	switch {
	case timedOut && err != nil:
		return got, fmt.Errorf("no answer within %v", requestTimeout)
	case err != nil && !errors.Is(err, errAnswer):
		return got, errors.New("connection lost")
	}
	return got, err
}

func (c *connection) timeOut(now time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.since.IsZero() && now.Sub(c.since) > requestTimeout && !c.timedOut {
		c.timedOut = true
		c.open.Close()
	}
}

func (c *connection) dial() error {
	opened, err := dial(c.host)
	if err != nil {
		return err
	}
	c.mutex.Lock()
	c.open = opened
	c.mutex.Unlock()
	c.reader = bufio.NewReader(opened)
	return nil
}

// redial opens a connection in place of one that was lost, again and again until it works or the run has ended and the
// last request was given up.
func (c *connection) redial() {
	c.close()
	for time.Now().Before(c.load.ends.Add(requestTimeout)) {
		if c.dial() == nil {
			return
		}
		time.Sleep(redialPause)
	}
}

func (c *connection) close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.open.Close()
}
