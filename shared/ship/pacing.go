package ship

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Pacing is when the next request may be sent, and how large it may be.
type pacing struct {
	budget    budget
	traffic   *traffic
	charged   int64     // bytes on the wire that were charged to the budget
	notBefore time.Time // of the next request, zero: any time
	lastSent  time.Time // when a round last made a request
	failed    int       // failures in a row
	// littleTaken says that the server accepted little of a chunk, and has not accepted
	// a larger one completely since.
	littleTaken bool
	fault       error // of the last round
}

// busy says whether other programs need the links.
func (s *Shipper) busy(now time.Time) bool {
	busy, err := s.pacing.traffic.measure(now, s.wireBytes(func(l *link) int64 { return l.sent.Load() }))
	if unreadable := err != nil; unreadable != s.pacing.traffic.unreadable {
		s.pacing.traffic.unreadable = unreadable
		if !unreadable {
			s.log.Info("link traffic can be read again")
		} else {
			s.log.Warn("link traffic cannot be read; assuming the links are idle", "error", err)
		}
	}
	if busy != s.report.detail.Busy {
		if busy {
			s.log.Info("links are busy; the backlog waits")
		} else {
			s.log.Info("links are free; the backlog continues")
		}
	}
	s.report.detail.Busy = busy
	return busy
}

// wireBytes sums bytes over the connections to all servers.
func (s *Shipper) wireBytes(of func(*link) int64) int64 {
	sum := of(s.client.link)
	if s.clocks.check.client != s.client {
		sum += of(s.clocks.check.client.link)
	}
	return sum
}

// chargeBudget charges the bytes that went over the wire since the last time.
func (s *Shipper) chargeBudget() {
	total := s.wireBytes(func(l *link) int64 { return l.sent.Load() + l.received.Load() })
	s.pacing.budget.spend(total-s.pacing.charged, time.Now())
	s.pacing.charged = total
	if s.pacing.budget.perDay > 0 {
		s.report.detail.BytesToday = int64(s.pacing.budget.used)
	}
}

// checkBudget says whether the day's bytes are spent, and logs when that changes.
func (s *Shipper) checkBudget(now time.Time) (spent bool) {
	spent = s.pacing.budget.spent(now)
	if spent && !s.report.detail.BudgetSpent {
		s.log.Warn("remote.max_bytes_per_day is reached; the backlog waits for the next day, the newest samples are sent every 10 minutes", "bytes", int64(s.pacing.budget.used))
	} else if !spent && s.report.detail.BudgetSpent {
		s.log.Info("a new day began; uploads continue without the limit")
	}
	s.report.detail.BudgetSpent = spent
	return spent
}

// retry sets when the next request may be sent after a failed one.
func (s *Shipper) retry(err error) time.Duration {
	s.pacing.failed++
	wait := s.cfg.UploadInterval
	if s.cfg.Retry.Enabled {
		wait = backoff(s.cfg.Retry, s.pacing.failed, rand.Float64())
	}
	if f, ok := errors.AsType[*fault](err); ok {
		switch {
		case f.foreign || f.status == 0 && f.outcome == Later:
			// The server did not answer, so a long wait does not relieve it. When the
			// link is back, or a person has signed in to the network, the newest samples
			// should arrive within a round.
			wait = min(wait, s.cfg.UploadInterval)
		case f.outcome == Misconfigured:
			wait = misconfiguredWait(s.cfg.Retry, rand.Float64())
		}
		wait = max(wait, f.wait)
	}
	s.pacing.notBefore = time.Now().Add(wait)
	s.report.detail.RetryAtMs = s.pacing.notBefore.UnixMilli()
	s.log.Debug("waiting before the next try", "attempt", s.pacing.failed, "backoff_ms", wait.Milliseconds())
	return wait
}

func faultOutcome(err error) Outcome {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.outcome
	}
	return Later
}

// mayContinue says whether the round may make a request that is not for the newest
// samples, and waits until the rate allows it.
func (s *Shipper) mayContinue(ctx context.Context, b *round) error {
	if now := time.Now(); !s.drainAll && (s.pacing.budget.spent(now) || s.busy(now)) {
		return errRoundOver
	}
	return s.waitForRate(ctx, b)
}

// waitForRate waits until the rate allows the next request. It also reports progress,
// because a round may be long.
func (s *Shipper) waitForRate(ctx context.Context, b *round) error {
	s.progress()
	if ctx.Err() != nil || b.requests > 0 && b.timeIsUp() {
		return errRoundOver
	}
	wait := s.pacing.budget.wait(time.Now())
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errRoundOver
	case <-timer.C:
		return nil
	}
}
