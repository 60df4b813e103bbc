package ship

import (
	"context"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

const (
	// confirmAfter is the time between the two requests whose answers confirm the
	// server's time.
	confirmAfter = time.Minute
	// A confirmation holds for confirmedRounds upload intervals, and at least
	// confirmedFor.
	confirmedRounds = 5
	confirmedFor    = 5 * time.Minute
	// sameTime is the largest difference between two estimates of the server's time
	// that confirm each other.
	sameTime = 5 * time.Second
	// withdrawn is how far the server's time must move until rows that were rejected by
	// it are judged again.
	withdrawn = time.Minute
)

// A timeRule says which times the server would drop without an error. A single Date
// rejects no sample, because it may come from a proxy whose clock was wrong for a
// moment.
type timeRule struct {
	retention time.Duration // how far back the server keeps samples, 0: no limit
	serverMs  int64         // the server's time, timeUnknown: not known
	ownMs     int64         // this clock, timeUnknown: neither the kernel nor timesyncd confirms it
	confirmed bool          // serverMs is confirmed by a second answer
}

// A ruling is the decision of a timeRule about one row.
type ruling int

const (
	send   ruling = iota
	hold          // keep it pending until the server's time is confirmed
	refuse        // the server would drop it
)

// ruleOn judges one row by its time.
func (t timeRule) ruleOn(timeMs int64) (ruling, error) {
	if t.ownMs != timeUnknown && t.check(timeMs, t.ownMs) == nil || t.serverMs == timeUnknown && t.ownMs == timeUnknown {
		return send, nil
	}
	if t.serverMs == timeUnknown {
		return refuse, t.check(timeMs, t.ownMs)
	}
	err := t.check(timeMs, t.serverMs)
	switch {
	case err == nil:
		return send, nil
	case t.confirmed || t.ownMs != timeUnknown:
		return refuse, err
	}
	return hold, nil
}

func (t timeRule) check(timeMs, nowMs int64) error {
	return vmjson.CheckSample(0, timeMs, nowMs, t.retention)
}

// doubts says whether a row would not be sent, or would not be sent if this clock were
// right, while no time is known.
func (t timeRule) doubts(r store.Row) bool {
	if t.serverMs == timeUnknown && t.ownMs == timeUnknown {
		return t.check(r.TimeMs, time.Now().UnixMilli()) != nil
	}
	ruling, _ := t.ruleOn(r.TimeMs)
	return ruling != send
}

// A confirmation remembers which answers confirm the server's time. Its times have the
// monotonic clock, so that setting this clock changes nothing.
type confirmation struct {
	asked    time.Time // when the server was last asked, zero: never
	first    time.Time // the first of the answers that agree, zero: none do
	second   time.Time // the last answer that agreed, at least confirmAfter after first
	serverMs int64     // at first

	rejectedMs int64     // the server's time by which rows were rejected last, timeUnknown: none were
	rejectedAt time.Time // when they were rejected
	reviewed   bool      // rows that earlier runs rejected were judged again
}

// holds says whether the server's time is confirmed at present.
func (c *confirmation) holds(interval time.Duration) bool {
	return !c.second.IsZero() && time.Since(c.second) < max(confirmedRounds*interval, confirmedFor)
}

// agree adds a new estimate.
func (c *confirmation) agree(serverMs int64) {
	now := time.Now()
	moved := time.Duration(serverMs-c.serverMs)*time.Millisecond - now.Sub(c.first)
	switch {
	case c.first.IsZero() || moved.Abs() > sameTime:
		c.first, c.second, c.serverMs = now, time.Time{}, serverMs
	case now.Sub(c.first) >= confirmAfter:
		c.second = now
	}
}

// timeRuleFor returns the rule by which the times of rows are judged. If the rule doubts
// one of them the server is asked for the time, once a round, because this clock or the
// last answer's Date may be wrong.
func (s *Shipper) timeRuleFor(ctx context.Context, b *round, rows []store.Row) (timeRule, error) {
	c := &s.clocks.confirmation
	rule := timeRule{retention: s.cfg.ServerRetention, serverMs: s.serverMs()}
	if !slices.ContainsFunc(rows, rule.doubts) {
		return rule, nil
	}
	own, err := s.trustedTime(ctx)
	if err != nil {
		return rule, err
	}
	if rule.ownMs = own; !slices.ContainsFunc(rows, rule.doubts) {
		return rule, nil
	}
	rule.confirmed = c.holds(s.cfg.UploadInterval)
	if !b.askedTime && (rule.serverMs == timeUnknown || !b.answered || !rule.confirmed && time.Since(c.asked) >= confirmAfter) {
		begun := time.Now()
		if err := s.askTime(ctx, b); err != nil {
			return rule, err
		}
		b.askedTime = true
		if rule.serverMs = s.serverMs(); s.clocks.uploads.observedSince(begun) {
			c.asked = begun
			c.agree(rule.serverMs)
		}
		rule.confirmed = c.holds(s.cfg.UploadInterval)
	}
	return rule, nil
}

// trustedTime is this clock in Unix milliseconds, timeUnknown unless the
// collector found that the kernel or systemd-timesyncd confirms it.
func (s *Shipper) trustedTime(ctx context.Context) (unixMs int64, err error) {
	row, ok, err := s.db.StatusOf(ctx, status.ClockRow)
	if err != nil || !ok || row.BootID != s.report.component.Row().BootID {
		return timeUnknown, err
	}
	clock, err := status.Detail[status.Clock](row)
	if err != nil || !clock.IsTrusted() || clock.By != byKernel && clock.By != byTimesyncd {
		return timeUnknown, nil //nolint:nilerr // what cannot be read confirms nothing
	}
	return time.Now().UnixMilli(), nil
}

// The collector's names for the sources that confirm the clock.
const (
	byKernel    = "kernel"
	byTimesyncd = "timesyncd"
)

// noteRejected remembers the time by which rows were rejected.
func (c *confirmation) noteRejected(rule timeRule) {
	c.rejectedMs, c.rejectedAt = max(rule.serverMs, rule.ownMs), time.Now()
	if rule.serverMs != timeUnknown {
		c.rejectedMs = rule.serverMs
	}
}

// review makes samples pending again that were rejected only because of their times,
// once the server's time differs from the one by which they were judged. After a start
// that one is not known, so that all of them are judged again.
func (s *Shipper) review(ctx context.Context) error {
	c, nowMs := &s.clocks.confirmation, s.serverMs()
	if nowMs == timeUnknown || c.reviewed && c.rejectedMs == timeUnknown {
		return nil
	}
	if c.reviewed {
		moved := time.Duration(nowMs-c.rejectedMs)*time.Millisecond - time.Since(c.rejectedAt)
		if moved.Abs() < withdrawn {
			return nil
		}
	}
	from := int64(1)
	if s.cfg.ServerRetention > 0 {
		from = max(from, nowMs-s.cfg.ServerRetention.Milliseconds())
	}
	count, err := s.db.RequeueTimes(context.WithoutCancel(ctx), from, nowMs+vmjson.MaxAhead.Milliseconds())
	if err != nil {
		return err
	}
	c.reviewed, c.rejectedMs = true, timeUnknown
	if count > 0 {
		s.log.Info("the server's time differs from the one by which samples were rejected; they are pending again",
			"count", count)
	}
	return nil
}

// askTime sends an empty chunk, for the Date of the answer.
func (s *Shipper) askTime(ctx context.Context, b *round) error {
	if err := s.waitForRate(ctx, b); err != nil {
		return err
	}
	if err := s.wait(ctx, b, s.start(ctx, b, &chunk{})).err; err != nil {
		return err
	}
	return s.review(ctx)
}
