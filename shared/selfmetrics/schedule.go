package selfmetrics

import "time"

// A Schedule says when something is due. One that was not started is due at once.
type Schedule struct {
	Every time.Duration
	due   time.Time
}

// Start makes it due after wait, seen from now.
func (s *Schedule) Start(now time.Time, wait time.Duration) { s.due = now.Add(wait) }

// Due says whether it is due now, and then waits for the next interval. A moment
// before its time is in time: the caller has an interval of its own, and a
// millisecond too early would cost a whole one.
func (s *Schedule) Due(now time.Time) bool {
	if now.Before(s.due.Add(-s.Every / 20)) {
		return false
	}
	if s.due.IsZero() || now.Sub(s.due) >= s.Every {
		s.due = now
	}
	s.due = s.due.Add(s.Every)
	return true
}
