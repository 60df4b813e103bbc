package ship

import (
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// spentEvery is how often the newest samples go while the day's bytes are
	// spent.
	spentEvery = 10 * time.Minute
	// The names under which the day's bytes are kept. They are not metrics.
	budgetDay   = "budget.day"
	budgetBytes = "budget.bytes"
)

// A budget bounds the bytes on the wire: a rate, by a bucket that may go into
// debt for one request and then has to be waited for, and an amount a day.
type budget struct {
	rate   float64 // bytes a second, 0: no limit
	tokens float64
	filled time.Time
	perDay int64     // 0: no limit
	day    float64   // days since 1970, UTC
	used   float64   // bytes in that day
	server time.Time // the server's clock,
	heard  time.Time // at this time of ours; zero: not known
}

func newBudget(maxKbps, perDay int64, now time.Time) budget {
	return budget{rate: float64(maxKbps) * 1000 / 8, perDay: perDay, filled: now}
}

// restore takes over the day's bytes from an earlier run.
func (b *budget) restore(counts []metric.Count) {
	for _, c := range counts {
		switch c.Name {
		case budgetDay:
			b.day = c.Value
		case budgetBytes:
			b.used = c.Value
		}
	}
}

func (b *budget) counts() []metric.Count {
	if b.perDay == 0 {
		return nil
	}
	return []metric.Count{{Name: budgetBytes, Value: b.used}, {Name: budgetDay, Value: b.day}}
}

// spend enters bytes that went over the wire.
func (b *budget) spend(n int64, now time.Time) {
	b.turn(now)
	b.used += float64(n)
	b.fill(now)
	b.tokens -= float64(n)
}

// wait is how long to wait before the next request.
func (b *budget) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.fill(now)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * 1e9)
}

func (b *budget) fill(now time.Time) {
	if b.rate == 0 {
		return
	}
	b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*b.rate, b.rate) // what was not used is kept for a second
	b.filled = now
}

// spent says that the day's bytes are gone.
func (b *budget) spent(now time.Time) bool {
	b.turn(now)
	return b.perDay > 0 && b.used >= float64(b.perDay)
}

// follow takes the server's time, from which on the days are the server's.
func (b *budget) follow(serverMs int64, now time.Time) {
	b.server, b.heard = time.UnixMilli(serverMs), now
}

// turn begins a new day. A clock that goes back begins none, as that of a board
// that starts in 1970 and is set later: what was spent was spent. Nor does the
// day that was taken from a clock far ahead last until then: once the server's
// time is known the count goes on in its day.
func (b *budget) turn(now time.Time) {
	at := now
	if !b.heard.IsZero() {
		at = b.server.Add(now.Sub(b.heard)) // whatever this clock was set to since
	}
	today := float64(at.Unix() / 86400)
	switch {
	case today > b.day:
		b.day, b.used = today, 0
	case today < b.day-1 && !b.heard.IsZero():
		b.day = today
	}
}

// chunkBytes is the most that one request may carry, so that no debt takes
// longer than about two seconds to pay.
func (b *budget) chunkBytes() int {
	if b.rate == 0 {
		return maxChunkBytes
	}
	return int(min(max(2*b.rate, 2<<10), maxChunkBytes))
}
