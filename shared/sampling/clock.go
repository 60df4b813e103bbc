package sampling

import (
	"context"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// clockStep is what makes a change of the wall clock, against the clock that
	// nothing sets, a step: less is the work of a time daemon.
	clockStep = 500 * time.Millisecond
	// serverAgrees is how far the server's clock may be from ours, beside the
	// measurement's own error, for it to confirm ours.
	serverAgrees = 2000.0 // ms
	// askAgain is how often a clock that is not trusted is looked at, in the
	// first askFor of a run; later it is looked at with each round.
	askAgain = time.Second
	askFor   = 2 * time.Minute
	// renote is how often the database is told of the clock though nothing
	// changed, so that a restart can tell a step from a long drift.
	renote = 10 * time.Minute
	// timesyncdFile is touched by systemd-timesyncd whenever it has set the
	// clock; /run is empty after a boot. See systemd-timesyncd.service(8).
	timesyncdFile = "/run/systemd/timesync/synchronized"
	// byOperator stands for time.untrusted: ship.
	byOperator = "operator"
)

// notBefore is a time that no right clock shows: this program was not written
// yet.
var notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ntp is where synchronisation by NTP shows.
type ntp struct {
	kernel func() (bool, error)
	file   string // timesyncdFile
}

// A clock judges the wall clock. What it believes holds until the clock is
// stepped, or the machine boots again.
type clock struct {
	bootID string
	ship   bool // the operator trusts it whatever it shows
	log    *slog.Logger
	ntp

	known     bool // it was looked at before, in this boot
	trusted   bool
	by        string
	synced    *bool         // whether NTP says that it is synchronised; nil: not known
	offset    time.Duration // wall minus boot clock at the last look
	steppedAt time.Duration // on the boot clock; 0: no step was seen in this boot
	since     time.Duration // on the boot clock, when it was found not trusted
	stored    bool          // the database knows
	storedAt  time.Duration // on the boot clock
	logged    bool          // the log knows
}

// update judges the clock at one moment. Skew returns the shipper's status row
// about the server's clock; it is asked for when nothing else confirms ours.
func (c *clock) update(now status.Moment, skew func() status.Row) {
	offset := time.Duration(now.Wall.UnixNano()) - now.Boot
	step, known, was := offset-c.offset, c.known, c.trusted
	c.known, c.offset = true, offset
	stepped := known && step.Abs() > clockStep
	if stepped {
		c.steppedAt, c.stored, c.logged = now.Boot, false, false
		c.log.Warn("the clock was stepped", "step_ms", step.Milliseconds(), "trusted_before", was)
	}
	if synced := c.synchronised(now); !same(synced, c.synced) {
		c.synced, c.stored = synced, false
	}
	if !stepped && known && was && (c.ship || !now.Wall.Before(notBefore)) {
		return // as long as it is not set, it drifts by a second or two a day
	}
	c.by = c.evidence(now, skew)
	if c.trusted = c.by != ""; c.trusted != was || !known {
		c.stored, c.logged = false, false
	}
	if !c.trusted && (was || !known) {
		c.since = now.Boot
	}
}

// evidence says what confirms the clock, "" for nothing.
func (c *clock) evidence(now status.Moment, skew func() status.Row) string {
	switch {
	case c.ship:
		return byOperator
	case now.Wall.Before(notBefore):
		return ""
	}
	if ok, err := c.kernel(); err == nil && ok {
		return "kernel"
	}
	if c.timesyncd(now) {
		return "timesyncd"
	}
	if c.serverVouches(skew()) {
		return "server"
	}
	return ""
}

// timesyncd says whether systemd-timesyncd has set the clock since it was last
// stepped: what was known before a step says nothing about the clock after it.
func (c *clock) timesyncd(now status.Moment) bool {
	set := now.Wall.Add(c.steppedAt - now.Boot)
	info, err := os.Stat(c.file)
	return err == nil && !info.ModTime().Before(set) && !info.ModTime().After(now.Wall.Add(time.Second))
}

// synchronised says whether the clock is synchronised by NTP, as the kernel or
// systemd-timesyncd knows it, whatever else makes it trusted. Nil: neither of
// them can be asked.
func (c *clock) synchronised(now status.Moment) *bool {
	ok, err := c.kernel()
	if ok = ok && err == nil || c.timesyncd(now); !ok && err != nil {
		return nil
	}
	return &ok
}

func same(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }

// serverVouches says whether the server's clock was found to agree with this
// one, in this boot and since the last step.
func (c *clock) serverVouches(skew status.Row) bool {
	if skew.SuccessBootMs < 0 || skew.BootID != c.bootID || c.bootID == "" || skew.SuccessBootMs < c.steppedAt.Milliseconds() {
		return false
	}
	d, err := status.Detail[status.Skew](skew)
	if err != nil || d.SkewMs == nil {
		return false
	}
	allowed := serverAgrees
	if d.ErrorMs != nil {
		allowed += math.Abs(*d.ErrorMs)
	}
	return math.Abs(*d.SkewMs) <= allowed
}

// store tells the database what was found, which releases what is held once the
// clock is trusted.
func (c *clock) store(ctx context.Context, db *store.DB, now status.Moment) error {
	if now.Boot-c.storedAt > renote {
		c.stored = false
	}
	released, lost := 0, 0
	var shift time.Duration
	for !c.stored {
		change, err := db.RecordClock(ctx, store.Clock{Now: now, BootID: c.bootID, Trusted: c.trusted, By: c.by, NTP: c.synced, Since: c.since})
		if err != nil {
			return err
		}
		released, lost, c.stored = released+change.Released, lost+change.Lost, !change.More
		if change.Released > 0 {
			shift = change.Shift
		}
		if !c.stored {
			continue
		}
		c.storedAt = now.Boot
		switch {
		case c.logged && released == 0:
		case !c.trusted:
			c.log.Warn("the clock is not trusted; samples are held until it is", "wall_clock", now.Wall.UTC().Format(time.RFC3339), "untrusted_for", (now.Boot - c.since).Round(time.Second).String())
		case released > 0:
			c.log.Info("the clock is trusted; held samples got their right times and are pending", "trusted_by", c.by, "released", released, "shift_ms", shift.Milliseconds(), "lost", lost)
		default:
			c.log.Info("the clock is trusted", "trusted_by", c.by)
		}
		c.logged = true
	}
	return nil
}

// restore takes over what an earlier run of this boot knew.
func (c *clock) restore(ctx context.Context, db *store.DB) error {
	last, offset, ok, err := db.RecordedClock(ctx, c.bootID)
	if err != nil || !ok || c.known || last.By == byOperator && !c.ship {
		return err
	}
	c.logged = last.Trusted
	c.known, c.trusted, c.by, c.since, c.offset = true, last.Trusted, last.By, last.Since, offset
	return nil
}

func newClock(bootID string, ship bool, log *slog.Logger) clock {
	return clock{bootID: bootID, ship: ship, ntp: ntp{hostfs.ClockSynchronised, timesyncdFile}, log: log}
}
