// Command open-load offers HTTP requests to members at a rate that does not depend on their answers, and prints one JSON
// object: what became of them. It reads its plan as one JSON object from stdin (`plan.go`).
//
// In an open loop requests come when they come, whether or not earlier ones were answered, and what a request took counts
// from the moment at which it was due. A loop that waits for answers, or counts from when it got round to sending, does
// not ask while the server is slow, and so leaves out what the slowness cost (coordinated omission, Tene).
//
// It shares its machine with what it measures, so a request costs as little as it can: one goroutine for each
// connection, no HTTP library, and a histogram in place of samples. It honours no Retry-After: it stands for clients
// that come anew, each with one request.
package main

import (
	"encoding/json"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

const beginDelay = 200 * time.Millisecond

func main() {
	log.SetFlags(0)
	log.SetPrefix("open-load: ")
	var asked plan
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		log.Fatalf("the plan is not readable: %v", err)
	}
	if err := asked.check(); err != nil {
		log.Fatalf("the plan: %v", err)
	}
	runtime.GOMAXPROCS(asked.Threads)
	debug.SetGCPercent(400)
	found, err := run(&asked)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}

// run carries out a plan. It fails when a member cannot be reached at the beginning.
func run(asked *plan) (*report, error) {
	writes := newLoad(asked, http{put: true, asked: asked}, asked.WriteRate, asked.Connections, asked.Seed)
	loads := []*load{writes}
	var reads *load
	if asked.ReadConnections > 0 {
		reads = newLoad(asked, http{asked: asked}, asked.ReadRate, asked.ReadConnections, asked.Seed+1)
		loads = append(loads, reads)
	}
	for _, one := range loads {
		if err := one.connect(); err != nil {
			return nil, err
		}
	}
	runtime.GC()
	begin := time.Now().Add(beginDelay)
	opens := begin.Add(time.Duration(asked.WarmUpS * float64(time.Second)))
	ends := opens.Add(time.Duration(asked.Seconds * float64(time.Second)))
	var group sync.WaitGroup
	for _, one := range loads {
		one.begin, one.opens, one.ends = begin, opens, ends
		group.Go(one.run)
	}
	time.Sleep(time.Until(opens))
	before := processorTime()
	time.Sleep(time.Until(ends))
	spent := processorTime() - before
	group.Wait()
	found := &report{Writes: writes.result(), CPU: spent.Seconds()}
	if reads != nil {
		found.Reads = reads.result()
	} else {
		found.Reads.Errors = map[string]int{}
	}
	var late histogram
	for _, one := range loads {
		late.merge(&one.late)
	}
	found.LateP99, found.Late = late.quantile(0.99), late.quantile(1)
	return found, nil
}

// processorTime returns what this process has used since its start.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
