package health

import (
	"strings"
	"time"
)

const (
	// flapWindow is how soon a reason has to come back to count as flapping.
	flapWindow = 10 * time.Minute
	// maxHolds bounds how long a flapping reason is kept after it went, in bases.
	maxHolds = 8
)

// A damper keeps reasons that come and go from making the status flap. A reason
// appears at once, and the first time it goes at once. One that comes back
// within flapWindow is kept for base after it went, and for twice as long each
// time it comes again.
type damper struct {
	base   time.Duration
	memory map[reasonKey]*remembered
	last   time.Duration // on the boot clock: when it settled last
}

type reasonKey struct {
	code      Code
	component string
}

// remembered is one reason that holds, or held until a while ago.
type remembered struct {
	reason Reason
	shown  bool
	hold   time.Duration // kept this long after it went
	seen   time.Duration // on the boot clock: when it held last
}

// settle adds to the report the reasons that are still kept and takes the
// beginning of each from memory. Blind says that the database could not be read:
// what was wrong with anything else is then neither over nor coming back, and
// its time stands still.
func (d *damper) settle(r *Report, now Moment, blind bool) {
	passed := now.Boot - d.last
	d.last = now.Boot
	if d.memory == nil {
		d.memory = map[reasonKey]*remembered{}
	}
	holds := map[reasonKey]bool{}
	for i := range r.Reasons {
		key := reasonKey{r.Reasons[i].Code, r.Reasons[i].Component}
		holds[key] = true
		m := d.memory[key]
		if m == nil {
			m = &remembered{reason: r.Reasons[i]}
			d.memory[key] = m
		} else if !m.shown {
			m.hold = min(max(d.base, 2*m.hold), maxHolds*d.base)
			m.reason = r.Reasons[i]
		}
		since := m.reason.Since
		m.shown, m.seen, m.reason = true, now.Boot, r.Reasons[i]
		m.reason.Since = min(since, m.reason.Since) // RFC 3339 in UTC sorts by time
		r.Reasons[i] = m.reason
	}
	for key, m := range d.memory {
		if blind && !strings.HasPrefix(string(key.code), "database_") {
			m.seen += passed
			continue
		}
		gone := now.Boot - m.seen
		switch {
		case holds[key]:
		case m.shown && gone < m.hold:
			kept := m.reason
			kept.Message = "resolved " + human(gone) + " ago, still shown because it keeps recurring: " + kept.Message
			r.Reasons = append(r.Reasons, kept)
		case gone > flapWindow:
			delete(d.memory, key)
		default:
			m.shown = false
		}
	}
	sortReasons(r)
}
