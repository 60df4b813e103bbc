package ship

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/taniwha3/thugshells/shared/status"
)

// A round is one run of the upload loop.
type round struct {
	id    string // batch_id in the log and in the receipts
	begun time.Time
	until time.Time // when the next round is due; zero: whenever this one is done
	small bool      // only one small request may be sent

	answered  bool // the server accepted something
	askedTime bool // the server was asked for the time
	held      bool // some samples stay pending until the server's time is confirmed
	searching bool // the present request looks for bad samples
	short     bool // the lane has no rows after those that were read last
	emptied   bool // no sample was pending at the start but those that were sent or rejected

	roundCounts
}

// RoundCounts are the results of a round.
type roundCounts struct {
	requests  int
	isolated  int // of the requests, those that looked for bad samples
	delivered int // samples
	rejected  int
	resent    int
	sent      int64 // bytes on the wire
	received  int64
	status    int // of the last answer
}

func newRound(until time.Time) *round {
	return &round{id: uuid.NewString(), begun: time.Now(), until: until}
}

// timeIsUp says whether the next round is due.
func (b *round) timeIsUp() bool { return !b.until.IsZero() && !time.Now().Before(b.until) }

// errRoundOver ends a round without a fault: its time or its bytes are used up, or
// the daemon is stopping. The samples that are left are sent in the next one.
var errRoundOver = errors.New("the round is over")

// Round sends pending samples, the newest first, and returns when the next round is
// due. While there is a reason to wait it only writes the status row.
//
// The first round starts within a second and sends one small chunk. All others start
// at a point of the upload interval that the device's id decides, so that boards that
// start together do not send together.
func (s *Shipper) Round(ctx context.Context) (next time.Duration, err error) {
	now := time.Now()
	if wait := s.first.notBefore.Sub(now); !s.first.until.IsZero() && wait > 0 {
		return wait, nil
	}
	if wait, rests := s.rests(now); rests {
		// No request was made since, so the last fault still holds.
		return wait, errors.Join(s.pacing.fault, s.record(ctx, nil))
	}
	b := newRound(now.Add(s.beat()))
	err = s.sendAll(ctx, b)
	if errors.Is(err, errRoundOver) {
		err = nil
	}
	s.close(b, err)
	if s.pacing.fault = err; b.requests > 0 {
		s.pacing.lastSent = now
	}
	next, quiet := s.nextRound(b, err)
	if !quiet && (err != nil || b.delivered == 0 || s.report.detail.BudgetSpent != s.pacing.budget.spent(now)) {
		s.checkBudget(time.Now())
		err = errors.Join(err, s.record(ctx, err))
	}
	return min(next, s.cfg.UploadInterval), err
}

// rests says whether nothing may be sent now, and when to look again.
func (s *Shipper) rests(now time.Time) (wait time.Duration, rests bool) {
	if !s.cfg.Enabled {
		s.report.detail.Outcome, s.pacing.fault = status.OutcomeDisabled, nil
		return s.beat(), true
	}
	if wait := s.pacing.notBefore.Sub(now); wait > 0 && (s.report.detail.HTTPStatus != 401 || !s.client.creds.changed()) {
		return min(wait, s.cfg.UploadInterval), true
	}
	if s.checkBudget(now) && now.Sub(s.pacing.lastSent) < spentEvery {
		s.pacing.fault = nil
		return s.beat(), true
	}
	return 0, false
}

// nextRound says when the next round is due after one that ended, and whether its
// status row need not be written.
func (s *Shipper) nextRound(b *round, err error) (next time.Duration, quiet bool) {
	switch {
	case err != nil:
		return s.retry(err), false
	case !s.first.until.IsZero() && b.requests == 0 && time.Now().Before(s.first.until):
		return firstRoundEvery, time.Since(s.report.recorded) < s.cfg.UploadInterval/2
	}
	s.first.until = time.Time{}
	return max(time.Until(b.until), 0), false
}

// Drain sends everything that is pending now, whatever the budget, with up to
// max_attempts tries in a row. It fails if a sample could not be sent.
func (s *Shipper) Drain(ctx context.Context) (delivered int, err error) {
	if !s.cfg.Enabled {
		return 0, errors.New("remote.enabled is false: nothing was sent")
	}
	s.drainAll, s.first.until = true, time.Time{}
	s.report.self.Postpone(time.Now()) // self-metrics would be pending again after each round
	for {
		b := newRound(time.Time{})
		err = s.sendAll(ctx, b)
		s.close(b, err)
		delivered += b.delivered
		switch {
		case ctx.Err() != nil:
			return delivered, ctx.Err()
		case err == nil && b.delivered+b.rejected == 0:
			return delivered, s.record(ctx, nil)
		case err == nil || errors.Is(err, errRoundOver):
			continue // with the samples that were stored meanwhile
		}
		wait := s.retry(err)
		if s.pacing.failed >= s.cfg.Retry.MaxAttempts || !s.cfg.Retry.Enabled || faultOutcome(err) != Later {
			return delivered, errors.Join(err, s.record(ctx, err))
		}
		s.log.Warn("chunk not delivered, will retry", "error", err, "attempt", s.pacing.failed, "backoff_ms", wait.Milliseconds())
		select {
		case <-ctx.Done():
			return delivered, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// beat is the time to the next round. A round that is due within a twentieth of the
// interval is the present one, because a timer may be early.
func (s *Shipper) beat() time.Duration {
	wait := beat(time.Now(), s.cfg.UploadInterval, s.client.device)
	if wait < s.cfg.UploadInterval/20 {
		wait += s.cfg.UploadInterval
	}
	return wait
}

// close logs the round.
func (s *Shipper) close(b *round, err error) {
	if b.requests == 0 {
		if err == nil {
			s.report.detail.Outcome, s.report.detail.HTTPStatus = status.OutcomeIdle, 0
		}
		return
	}
	attrs := []any{
		"batch_id", b.id, "requests", b.requests, "count", b.delivered, "rejected", b.rejected, "resent", b.resent, "attempt", s.pacing.failed + 1,
		"http_status", b.status, "bytes_sent", b.sent, "bytes_rcvd", b.received, "duration_ms", time.Since(b.begun).Milliseconds(),
	}
	if f, ok := errors.AsType[*fault](err); ok && f.wait > 0 {
		attrs = append(attrs, "retry_after_sec", int64(f.wait.Seconds()))
	}
	s.log.Debug("round done", attrs...)
	if now := time.Now(); s.report.sums.add(b, now) {
		s.report.sums.flush(context.Background(), s.log, now)
	}
}
