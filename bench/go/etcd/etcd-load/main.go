// Command etcd-load loads an etcd cluster through etcd's own gRPC client and prints one JSON object: what was answered
// and how long it took.
//
// The loop is closed: every client keeps one request in flight. Clients share at most `connections` gRPC connections,
// as goroutines of one program do. Latencies are corrected as wrk corrects them, so that the percentiles of both can be
// compared: a request that took longer than twice the mean stands for those that the stalled client did not send.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	endpoints   = flag.String("endpoints", "http://127.0.0.1:2379", "URLs, separated by commas; connections are spread over them")
	connections = flag.Int("connections", 16, "most gRPC connections")
	clients     = flag.Int("clients", 64, "requests in flight")
	seconds     = flag.Float64("seconds", 5, "length of the run")
	work        = flag.String("work", "put", "put, get, stale (serializable get) or mixed (80 gets, 20 puts)")
	keys        = flag.Int("keys", 10000, "how many keys are used")
	prefix      = flag.String("prefix", "document-", "of the keys")
	size        = flag.Int("bytes", 255, "bytes of a document")
	filling     = flag.String("filling", "", "file of random text that documents are cut from")
	once        = flag.Bool("once", false, "put every key once and end")
)

const (
	requestTimeout = 5 * time.Second
	seed           = 20240607
)

type result struct {
	Requests int            `json:"requests"` // answered without an error
	Seconds  float64        `json:"seconds"`
	P50      float64        `json:"p50_us"`
	P99      float64        `json:"p99_us"`
	Worst    float64        `json:"worst_us"`
	Errors   map[string]int `json:"errors"`
}

// client is one goroutine with one request in flight.
type client struct {
	etcd      *clientv3.Client
	chance    *rand.Rand
	latencies []time.Duration
	errors    map[string]int
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	documents := makeDocuments()
	pool := connect(min(*connections, *clients))
	if *once {
		fill(pool, documents)
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(load(pool, documents)); err != nil {
		log.Fatal(err)
	}
}

// makeDocuments returns the JSON documents that wrk.lua makes: both stores are given the same bytes.
func makeDocuments() []string {
	text, err := os.ReadFile(*filling)
	if err != nil {
		log.Fatal(err)
	}
	documents := make([]string, *keys)
	for number := range documents {
		head := fmt.Sprintf(`{"number":%d,"text":"`, number)
		offset := (number * *size) % (len(text) - *size)
		documents[number] = head + string(text[offset:offset+*size-len(head)-2]) + `"}`
	}
	return documents
}

func connect(count int) []*clientv3.Client {
	urls := strings.Split(*endpoints, ",")
	pool := make([]*clientv3.Client, count)
	for number := range pool {
		// One endpoint each: with all of them, etcd's client would spread the requests of one connection.
		config := clientv3.Config{Endpoints: []string{urls[number%len(urls)]}, DialTimeout: requestTimeout}
		if strings.HasPrefix(urls[0], "https") {
			// The certificate is not checked: wrk, which loads the REST interfaces, does not check it either.
			config.TLS = &tls.Config{InsecureSkipVerify: true}
		}
		opened, err := clientv3.New(config)
		if err != nil {
			log.Fatal(err)
		}
		// gRPC connects at the first request: it must not be measured.
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		if _, err := opened.Get(ctx, *prefix); err != nil {
			log.Fatal(err)
		}
		cancel()
		pool[number] = opened
	}
	return pool
}

func key(number int) string { return fmt.Sprintf("%s%08d", *prefix, number) }

func fill(pool []*clientv3.Client, documents []string) {
	var next atomic.Int64
	var group sync.WaitGroup
	for number := range *clients {
		group.Go(func() {
			for place := next.Add(1) - 1; place < int64(*keys); place = next.Add(1) - 1 {
				if _, err := pool[number%len(pool)].Put(context.Background(), key(int(place)), documents[place]); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	group.Wait()
}

func load(pool []*clientv3.Client, documents []string) result {
	all := make([]*client, *clients)
	for number := range all {
		chance := rand.New(rand.NewPCG(seed, uint64(number)))
		all[number] = &client{etcd: pool[number%len(pool)], chance: chance, errors: map[string]int{}}
	}
	var group sync.WaitGroup
	started := time.Now()
	end := started.Add(time.Duration(*seconds * float64(time.Second)))
	for _, one := range all {
		group.Go(func() { one.run(end, documents) })
	}
	group.Wait()
	return summarize(all, time.Since(started))
}

func (c *client) run(end time.Time, documents []string) {
	for {
		started := time.Now()
		if !started.Before(end) {
			return
		}
		if err := c.request(documents); err != nil {
			c.errors[err.Error()]++
			continue
		}
		c.latencies = append(c.latencies, time.Since(started))
	}
}

func (c *client) request(documents []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	number := c.chance.IntN(*keys)
	name := key(number)
	kind := *work
	if kind == "mixed" {
		kind = "get"
		if c.chance.IntN(5) == 0 {
			kind = "put"
		}
	}
	if kind == "put" {
		_, err := c.etcd.Put(ctx, name, documents[number])
		return err
	}
	var options []clientv3.OpOption
	if kind == "stale" {
		options = append(options, clientv3.WithSerializable())
	}
	answer, err := c.etcd.Get(ctx, name, options...)
	if err == nil && len(answer.Kvs) != 1 {
		err = fmt.Errorf("%s is missing", name)
	}
	return err
}

func summarize(all []*client, took time.Duration) result {
	said := result{Seconds: took.Seconds(), Errors: map[string]int{}}
	var latencies []time.Duration
	for _, one := range all {
		latencies = append(latencies, one.latencies...)
		for cause, count := range one.errors {
			said.Errors[cause] += count
		}
	}
	said.Requests = len(latencies)
	if len(latencies) == 0 {
		return said
	}
	if turns := len(latencies) / len(all); turns > 0 {
		latencies = corrected(latencies, took/time.Duration(turns))
	}
	slices.Sort(latencies)
	at := func(share float64) float64 {
		place := min(int(share*float64(len(latencies))), len(latencies)-1)
		return float64(latencies[place].Nanoseconds()) / 1000
	}
	said.P50, said.P99, said.Worst = at(0.5), at(0.99), at(1)
	return said
}

// corrected adds the requests that stalled clients did not send; wrk's stats_correct.
func corrected(latencies []time.Duration, expected time.Duration) []time.Duration {
	for _, one := range latencies {
		if one >= 2*expected {
			for missing := one - expected; missing > expected; missing -= expected {
				latencies = append(latencies, missing)
			}
		}
	}
	return latencies
}
