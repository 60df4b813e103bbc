package ship

import (
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// spentEvery is how often the newest samples are sent while the day's bytes are
	// spent.
	spentEvery = 10 * time.Minute
	// The names of the counters that keep the day's bytes. They are not metrics.
	budgetDay   = "budget.day"
	budgetBytes = "budget.bytes"
)

// A budget bounds the bytes on the wire: a rate, by a token bucket that goes into debt
// for one request and delays the next one until the debt is paid, and an amount a day.
type budget struct {
	rate   float64 // bytes a second, 0: no limit
	tokens float64
	filled time.Time
	perDay int64     // 0: no limit
	day    float64   // days since 1970, UTC
	used   float64   // bytes in that day
	server time.Time // the server's clock at the time heard
	heard  time.Time // by this clock; zero: the server's is not known
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

// spend charges bytes that went over the wire.
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
	b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*b.rate, b.rate) // at most a second's bytes are saved up
	b.filled = now
}

// spent says whether the day's bytes are used up.
func (b *budget) spent(now time.Time) bool {
	b.turn(now)
	return b.perDay > 0 && b.used >= float64(b.perDay)
}

// follow sets the server's time, whose days count from now on.
func (b *budget) follow(serverMs int64, now time.Time) {
	b.server, b.heard = time.UnixMilli(serverMs), now
}

// turn begins a new day. A clock that goes back, as on a board that starts in 1970,
// begins none: the bytes of the day stay spent. A day that came from a clock far
// ahead is corrected as soon as the server's time is known.
func (b *budget) turn(now time.Time) {
	at := now
	if !b.heard.IsZero() {
		at = b.server.Add(now.Sub(b.heard)) // also if this clock was set since
	}
	today := float64(at.Unix() / 86400)
	switch {
	case today > b.day:
		b.day, b.used = today, 0
	case today < b.day-1 && !b.heard.IsZero():
		b.day = today
	}
}

// chunkBytes is the largest body of a request, so that every debt is paid within about
// two seconds.
func (b *budget) chunkBytes() int {
	if b.rate == 0 {
		return maxChunkBytes
	}
	return int(min(max(2*b.rate, 2<<10), maxChunkBytes))
}
