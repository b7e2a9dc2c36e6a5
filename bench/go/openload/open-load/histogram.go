package main

import (
	"math"
	"math/bits"
	"time"
)

const (
	exactBits = 8  // 256 steps for each power of two: an error of 0.4 % at most
	octaves   = 32 // of microseconds: more than an hour
)

// histogram counts durations, with a bounded relative error, as HdrHistogram does. The largest one is kept exactly.
type histogram struct {
	counts [octaves << exactBits]uint32
	count  int
	most   time.Duration
}

func (h *histogram) add(took time.Duration) {
	took = max(took, 0)
	h.most = max(h.most, took)
	h.count++
	h.counts[place(uint64(took.Microseconds()))]++
}

func (h *histogram) merge(other *histogram) {
	for at, count := range other.counts {
		h.counts[at] += count
	}
	h.count += other.count
	h.most = max(h.most, other.most)
}

// quantile returns, in seconds, what at least that share of all do not exceed (nearest rank); nil for none.
func (h *histogram) quantile(share float64) *float64 {
	if h.count == 0 {
		return nil
	}
	rank := max(1, int(math.Ceil(share*float64(h.count))))
	seconds := h.most.Seconds()
	if rank < h.count {
		passed := 0
		for at, count := range h.counts {
			if passed += int(count); passed >= rank {
				seconds = min(seconds, float64(upper(at))/1e6)
				break
			}
		}
	}
	return &seconds
}

// place returns the bucket of a number of microseconds: exact below 512, then of 256 per power of two.
func place(us uint64) int {
	shift := max(0, bits.Len64(us)-exactBits-1)
	return min(shift<<exactBits+int(us>>shift), octaves<<exactBits-1)
}

// upper returns the largest number of microseconds of a bucket.
func upper(at int) uint64 {
	shift := max(0, at>>exactBits-1)
	return uint64(at-shift<<exactBits+1)<<shift - 1
}
