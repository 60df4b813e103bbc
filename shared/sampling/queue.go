package sampling

import (
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// queueLimit bounds the samples that wait in memory while the database cannot be
// written: about an hour of a board's samples, about 3 MB.
const queueLimit = 20000

// queue holds the samples that could not be stored, oldest first.
type queue struct {
	waiting []waiting
	lost    int // dropped since the last time anything could be stored
}

// waiting is a group with the clock by which it has its times.
type waiting struct {
	store.Group
	offset time.Duration // wall minus boot clock
}

// add appends groups and returns all groups that wait, and how many samples were dropped
// to stay within the limit. A group from a time when the clock was not trusted gets the
// times of the present clock.
func (q *queue) add(groups []store.Group, c *clock) ([]store.Group, map[string]int) {
	for _, g := range groups {
		q.waiting = append(q.waiting, waiting{g, c.offset})
	}
	for q.size() > queueLimit {
		q.lost += len(q.waiting[0].Samples)
		q.waiting = q.waiting[1:]
	}
	all := make([]store.Group, len(q.waiting))
	for i := range q.waiting {
		q.waiting[i].restamp(c)
		all[i] = q.waiting[i].Group
	}
	if q.lost == 0 {
		return all, nil
	}
	return all, map[string]int{status.LostMemoryFull: q.lost}
}

func (w *waiting) restamp(c *clock) {
	if w.ClockTrusted {
		return
	}
	if step := c.offset - w.offset; step.Abs() > store.ClockStep {
		for i := range w.Samples {
			w.Samples[i].TimeMs += step.Milliseconds()
		}
		for i := range w.Events {
			w.Events[i].TimeMs += step.Milliseconds()
		}
		w.offset = c.offset
	}
	w.ClockTrusted = c.trusted
}

// clear empties the queue after its samples were stored.
func (q *queue) clear() { *q = queue{} }

func (q *queue) size() int {
	n := 0
	for _, w := range q.waiting {
		n += len(w.Samples) + len(w.Events)
	}
	return n
}
