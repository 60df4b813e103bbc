package daemon

import (
	"slices"
	"strings"
	"time"
)

// loopLimit is how long one run may last where nothing else is set.
const loopLimit = 2 * time.Minute

// Heart is how one loop is doing. Times are local; the zero time is never.
type Heart struct {
	Loop        string
	Running     bool      // in a run now
	Beat        time.Time // when the run began or last called Beat; between runs, when the last one ended
	Due         time.Time // of the next run
	Runs        int64
	Failures    int64
	LastSuccess time.Time
	LastFailure time.Time
	LastError   string
	Stuck       bool
}

// heart is a Heart in the making, guarded by Process.mu.
type heart struct {
	Heart
	limit time.Duration
}

// stuckFor returns for how long the loop has gone without a sign of life that it
// owes: a run lasts past its limit, or one that is due has not begun for so long.
func (h *heart) stuckFor(now time.Time) (time.Duration, bool) {
	silent := now.Sub(h.Beat)
	if !h.Running {
		silent = now.Sub(h.Due)
	}
	return silent, silent > h.limit
}

// Beat marks that the present run of a loop is getting on, for runs that may
// last: each sign of life gives it its whole limit again.
func (p *Process) Beat(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hearts {
		if h.Loop == name && h.Running {
			h.Beat = time.Now()
		}
	}
}

// Hearts returns the state of every loop that has not ended, by name.
func (p *Process) Hearts() []Heart {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	list := make([]Heart, len(p.hearts))
	for i, h := range p.hearts {
		list[i] = h.Heart
		_, list[i].Stuck = h.stuckFor(now)
	}
	slices.SortFunc(list, func(a, b Heart) int { return strings.Compare(a.Loop, b.Loop) })
	return list
}

// Stuck names the loops that are stuck, in order; nil means none is.
func (p *Process) Stuck() []string {
	var names []string
	for _, h := range p.Hearts() {
		if h.Stuck {
			names = append(names, h.Loop)
		}
	}
	return names
}

func (p *Process) addHeart(name string) *heart {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hearts {
		if h.Loop == name {
			panic("BUG: two loops are named " + name)
		}
	}
	now := time.Now()
	h := &heart{Heart: Heart{Loop: name, Beat: now, Due: now}, limit: loopLimit}
	if p.LoopLimit > 0 {
		h.limit = p.LoopLimit
	}
	if own := p.LoopLimits[name]; own > 0 {
		h.limit = own
	}
	p.hearts = append(p.hearts, h)
	return h
}

func (p *Process) removeHeart(h *heart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hearts = slices.DeleteFunc(p.hearts, func(other *heart) bool { return other == h })
}

func (p *Process) begin(h *heart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.Running, h.Beat = true, time.Now()
	h.Runs++
}

func (p *Process) end(h *heart, next time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	h.Running, h.Beat, h.Due = false, now, now.Add(next)
	if err == nil {
		h.LastSuccess = now
		return
	}
	h.Failures++
	h.LastFailure, h.LastError = now, err.Error()
}
