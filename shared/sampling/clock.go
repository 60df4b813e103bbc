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
	// serverAgrees is the largest difference, besides the error of the measurement, at
	// which the server's clock confirms this one.
	serverAgrees = 2000.0 // ms
	// watchEvery is how often an untrusted clock is checked in the first watchClosely of
	// a run; later it is checked in each round.
	watchEvery   = time.Second
	watchClosely = 2 * time.Minute
	// storeAgain is how often the clock is recorded although nothing changed, so that a
	// later run can distinguish a step from a long drift.
	storeAgain = 10 * time.Minute
	// timesyncdFile is touched by systemd-timesyncd when it has set the clock; /run is
	// empty after a boot. See systemd-timesyncd.service(8).
	timesyncdFile = "/run/systemd/timesync/synchronized"
	// byOperator stands for time.untrusted: ship.
	byOperator = "operator"
)

// notBefore is the earliest time that a right clock can show: when this program was
// written.
var notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ntp is where the state of NTP can be read.
type ntp struct {
	kernel func() (bool, error)
	file   string // timesyncdFile
}

// A clock decides whether the wall clock can be trusted. A decision holds until the
// clock is stepped or the machine boots again.
type clock struct {
	bootID string
	ship   bool // time.untrusted is ship: it is always trusted
	log    *slog.Logger
	ntp

	known     bool // it was checked before in this boot
	trusted   bool
	by        string
	synced    *bool         // whether it is synchronised by NTP; nil: not known
	offset    time.Duration // wall minus boot clock at the last check
	steppedAt time.Duration // by the boot clock; 0: there was no step in this boot
	since     time.Duration // by the boot clock: when it was found untrusted
	stored    bool          // the decision is in the database
	storedAt  time.Duration // by the boot clock
	logged    bool          // the decision was logged
}

// update checks the clock at one moment. Skew returns the shipper's status row about the
// server's clock; it is called if nothing else confirms this clock.
func (c *clock) update(now status.Moment, skew func() status.Row) {
	offset := time.Duration(now.Wall.UnixNano()) - now.Boot
	step, known, was := offset-c.offset, c.known, c.trusted
	c.known, c.offset = true, offset
	stepped := known && step.Abs() > store.ClockStep
	if stepped {
		c.steppedAt, c.stored, c.logged = now.Boot, false, false
		c.log.Warn("the clock was stepped", "step_ms", step.Milliseconds(), "trusted_before", was)
	}
	if synced := c.synchronised(now); !same(synced, c.synced) {
		c.synced, c.stored = synced, false
	}
	if !stepped && known && was && (c.ship || !now.Wall.Before(notBefore)) {
		return // without a step it drifts by no more than a second or two a day
	}
	c.by = c.evidence(now, skew)
	if c.trusted = c.by != ""; c.trusted != was || !known {
		c.stored, c.logged = false, false
	}
	if !c.trusted && (was || !known) {
		c.since = now.Boot
	}
}

// evidence names the source that confirms the clock, "" for none.
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
	if c.serverConfirms(skew()) {
		return "server"
	}
	return ""
}

// timesyncd says whether systemd-timesyncd has set the clock since the last step, after
// which earlier evidence does not count.
func (c *clock) timesyncd(now status.Moment) bool {
	set := now.Wall.Add(c.steppedAt - now.Boot)
	info, err := os.Stat(c.file)
	return err == nil && !info.ModTime().Before(set) && !info.ModTime().After(now.Wall.Add(time.Second))
}

// synchronised says whether the clock is synchronised by NTP according to the kernel or
// systemd-timesyncd, also if something else makes it trusted. Nil means that it is not
// known.
func (c *clock) synchronised(now status.Moment) *bool {
	ok, err := c.kernel()
	if ok = ok && err == nil || c.timesyncd(now); !ok && err != nil {
		return nil
	}
	return &ok
}

func same(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }

// serverConfirms says whether the server's clock agreed with this one, in this boot and
// since the last step.
func (c *clock) serverConfirms(skew status.Row) bool {
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

// store records the decision in the database, which releases the held samples once the
// clock is trusted.
func (c *clock) store(ctx context.Context, db *store.DB, now status.Moment) error {
	if now.Boot-c.storedAt > storeAgain {
		c.stored = false
	}
	released, lost := 0, 0
	var shift time.Duration
	for !c.stored {
		change, err := db.RecordClock(ctx, store.Clock{
			Now: now, BootID: c.bootID, Trusted: c.trusted, By: c.by,
			NTP: c.synced, Since: c.since,
		})
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
			c.log.Warn("the clock is not trusted; samples are held until it is", "wall_clock",
				now.Wall.UTC().Format(time.RFC3339), "untrusted_for", (now.Boot - c.since).Round(time.Second).String())
		case released > 0:
			c.log.Info("the clock is trusted; held samples got their right times and are pending", "trusted_by", c.by,
				"released", released, "shift_ms", shift.Milliseconds(), "lost", lost)
		default:
			c.log.Info("the clock is trusted", "trusted_by", c.by)
		}
		c.logged = true
	}
	return nil
}

// restore takes over the decision of an earlier run in this boot.
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
