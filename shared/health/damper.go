package health

import (
	"strings"
	"time"
)

const (
	// flapWindow is the time within which a reason that comes back counts as flapping.
	flapWindow = 10 * time.Minute
	// maxHolds bounds how long a flapping reason stays after it ended, in bases.
	maxHolds = 8
)

// A damper prevents that reasons which come and go make the status flap. A reason
// appears at once, and the first time it also disappears at once. If it comes back
// within flapWindow it stays for base after it ended, and for twice as long each
// further time.
type damper struct {
	base   time.Duration
	memory map[reasonKey]*remembered
	last   time.Duration // by the boot clock: the last call of settle
}

type reasonKey struct {
	code      Code
	component string
}

// remembered is a reason that holds, or held recently.
type remembered struct {
	reason Reason
	shown  bool
	hold   time.Duration // how long it stays after it ended
	seen   time.Duration // by the boot clock: when it held last
}

// settle adds the reasons that still stay to the report, and sets the beginning of each
// reason from memory. Blind says that the database could not be read: then it is not
// known whether other reasons hold, and their time stands still.
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
