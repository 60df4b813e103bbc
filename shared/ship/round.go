package ship

import (
	"context"
	"errors"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// Round sends what is pending, the newest first, and returns when the next
// round is due. While there is a reason to wait it only says that it is alive.
//
// The first round comes within a second and sends one small chunk; all others
// come on the device's own beat. When, the device's id decides, so that a fleet
// that starts together spreads out.
func (s *Shipper) Round(ctx context.Context) (next time.Duration, err error) {
	now := time.Now()
	if !s.cfg.Enabled {
		s.report.detail.Outcome = status.OutcomeDisabled
		return s.beat(), s.record(ctx, nil)
	}
	if wait := s.pacing.notBefore.Sub(now); wait > 0 && (s.report.detail.HTTPStatus != 401 || !s.client.creds.changed()) {
		// Still the same fault: nothing was tried since.
		return min(wait, s.cfg.UploadInterval), errors.Join(s.pacing.fault, s.record(ctx, nil))
	}
	if s.sayBudget(now) && now.Sub(s.pacing.lastSent) < spentEvery {
		return s.beat(), s.record(ctx, nil)
	}
	first := !s.first.until.IsZero()
	if wait := s.first.notBefore.Sub(now); first && wait > 0 {
		return wait, nil
	}
	b := newRound(now.Add(s.beat()))
	err = s.sendAll(ctx, b)
	if errors.Is(err, errRoundOver) {
		err = nil
	}
	s.close(b, err)
	if b.requests > 0 {
		s.pacing.lastSent = now
	}
	s.pacing.fault = err
	switch {
	case err != nil:
		next = s.retry(err)
	case first && b.requests == 0 && time.Now().Before(s.first.until):
		if time.Since(s.report.recorded) < s.cfg.UploadInterval/2 {
			return eagerEvery, nil // the last heartbeat is not due again
		}
		next = eagerEvery
	default:
		s.first.until = time.Time{}
		next = max(time.Until(b.until), 0)
	}
	if err != nil || b.delivered == 0 || s.report.detail.BudgetSpent != s.pacing.budget.spent(now) {
		s.sayBudget(time.Now())
		err = errors.Join(err, s.record(ctx, err))
	}
	return min(next, s.cfg.UploadInterval), err
}

// Drain sends everything that is pending now, whatever the budget, with up to
// max_attempts tries in a row. An error says that something could not be sent.
func (s *Shipper) Drain(ctx context.Context) (delivered int, err error) {
	if !s.cfg.Enabled {
		return 0, errors.New("remote.enabled is false: nothing was sent")
	}
	s.drainAll, s.first.until = true, time.Time{}
	s.report.self.Postpone(time.Now()) // samples about this run would never end
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
			continue // what came meanwhile
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

// beat is the time to the next round. One that is all but here is this one: the
// timer is not the clock.
func (s *Shipper) beat() time.Duration {
	wait := beat(time.Now(), s.cfg.UploadInterval, s.client.device)
	if wait < s.cfg.UploadInterval/20 {
		wait += s.cfg.UploadInterval
	}
	return wait
}
