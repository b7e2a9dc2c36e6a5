package main

import (
	"errors"
	"fmt"
	"net/url"
)

// plan is what one run is to do; `overload/plan.py` has the same.
type plan struct {
	URLs            []string `json:"urls"`
	Connections     int      `json:"connections"`      // of writes: as many are in flight at most
	WriteRate       float64  `json:"write_rate"`       // per second; 0: each connection waits for its answer (closed loop)
	ReadRate        float64  `json:"read_rate"`        // linearizable reads per second
	ReadConnections int      `json:"read_connections"` // 0: no reads
	WarmUpS         float64  `json:"warm_up_s"`
	Seconds         float64  `json:"seconds"` // of the window that counts, behind the warm-up
	Keys            int      `json:"keys"`
	PayloadBytes    int      `json:"payload_bytes"`
	Path            string   `json:"path"`     // of the documents; an ID follows it
	Prefix          string   `json:"prefix"`   // of their IDs
	Arrivals        string   `json:"arrivals"` // poisson or constant
	Threads         int      `json:"threads"`
	Seed            uint64   `json:"seed"`
}

// told is what became of the requests of one kind that were due in the window; times in seconds from then on.
type told struct {
	Due        int            `json:"due"`
	Admitted   int            `json:"admitted"` // answered 2xx
	P50        *float64       `json:"p50_s"`
	P99        *float64       `json:"p99_s"`
	Worst      *float64       `json:"worst_s"`
	Refused    int            `json:"refused"` // answered 503 with Retry-After
	RefusedP99 *float64       `json:"refused_p99_s"`
	Waited     int            `json:"waited"` // were due when every connection had one in flight
	Errors     map[string]int `json:"errors"` // everything else, by cause
}

type report struct {
	Writes  told     `json:"writes"`
	Reads   told     `json:"reads"`
	LateP99 *float64 `json:"late_p99_s"` // how long behind its schedule the generator itself was
	Late    *float64 `json:"late_s"`
	CPU     float64  `json:"cpu_s"` // of the generator in the window
}

func (p *plan) check() error {
	switch {
	case len(p.URLs) == 0:
		return errors.New("no url")
	case p.Connections < 1 || p.ReadConnections < 0 || p.Threads < 1 || p.Keys < 1:
		return errors.New("connections, keys and threads are 1 at least")
	case p.WriteRate < 0 || p.ReadRate < 0 || p.WarmUpS < 0 || p.Seconds <= 0:
		return errors.New("rates and times are not negative")
	case p.ReadRate > 0 && p.ReadConnections == 0:
		return errors.New("reads need connections")
	case p.PayloadBytes < 64:
		return errors.New("a document has 64 bytes at least")
	case p.Arrivals != "poisson" && p.Arrivals != "constant":
		return fmt.Errorf("arrivals are poisson or constant, not %q", p.Arrivals)
	}
	for _, one := range p.URLs {
		parsed, err := url.Parse(one)
		if err != nil || parsed.Scheme != "http" || parsed.Port() == "" {
			return fmt.Errorf("%q is not a base URL with a port like http://127.0.0.1:7400", one)
		}
	}
	return nil
}
