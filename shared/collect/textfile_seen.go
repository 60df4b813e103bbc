package collect

import (
	"hash/maphash"
	"time"
)

const (
	// maxTextSeen bounds the different series of a day. A label with a new value each
	// time would otherwise use the limit of series that all collectors share.
	maxTextSeen = 1000
	textSeenFor = 24 * time.Hour
)

// seenSeries is when each series of the files was there last, by its hash.
type seenSeries struct {
	seed maphash.Seed
	last map[uint64]int64
}

func newSeenSeries() seenSeries {
	return seenSeries{seed: maphash.MakeSeed(), last: map[uint64]int64{}}
}

// room says how many of the series can be accepted together, from the first on: those of
// the last day, and new ones up to the limit.
func (s *seenSeries) room(series []string, nowMs int64) int {
	unknown := 0
	for i, one := range series {
		if _, known := s.last[maphash.String(s.seed, one)]; known {
			continue
		}
		if unknown++; len(s.last)+unknown > maxTextSeen {
			if s.forget(nowMs); len(s.last)+unknown > maxTextSeen {
				return i
			}
		}
	}
	return len(series)
}

// take remembers series that were accepted.
func (s *seenSeries) take(series []string, nowMs int64) {
	for _, one := range series {
		s.last[maphash.String(s.seed, one)] = nowMs
	}
}

// forget drops series that were not there for a day, or whose time is in the future.
func (s *seenSeries) forget(nowMs int64) {
	for h, at := range s.last {
		if age := nowMs - at; age > textSeenFor.Milliseconds() || age < 0 {
			delete(s.last, h)
		}
	}
}
