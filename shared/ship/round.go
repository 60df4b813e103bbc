package ship

import (
	"context"
	"errors"
	"math/rand/v2"
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
		s.detail.Outcome = status.OutcomeDisabled
		return s.beat(), s.record(ctx, nil)
	}
	if wait := s.notBefore.Sub(now); wait > 0 && (s.detail.HTTPStatus != 401 || !s.client.creds.changed()) {
		// Still the same fault: nothing was tried since.
		return min(wait, s.cfg.UploadInterval), errors.Join(s.fault, s.record(ctx, nil))
	}
	if s.sayBudget(now) && now.Sub(s.lastLive) < spentEvery {
		return s.beat(), s.record(ctx, nil)
	}
	first := !s.eager.IsZero()
	if wait := s.begins.Sub(now); first && wait > 0 {
		return wait, nil
	}
	b := newBatch(now.Add(s.beat()))
	err = s.work(ctx, b)
	if errors.Is(err, errEnough) {
		err = nil
	}
	s.close(b, err)
	if b.requests > 0 {
		s.lastLive = now
	}
	s.fault = err
	switch {
	case err != nil:
		next = s.retry(err)
	case first && b.requests == 0 && time.Now().Before(s.eager):
		if s.part.Row().HeartbeatMs != 0 {
			return eagerEvery, nil // it was said already
		}
		next = eagerEvery
	default:
		s.eager = time.Time{}
		next = max(time.Until(b.until), 0)
	}
	if err != nil || b.delivered == 0 || s.detail.BudgetSpent != s.budget.spent(now) {
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
	s.forced, s.eager = true, time.Time{}
	s.self.hush(time.Now()) // samples about this run would never end
	for {
		b := newBatch(time.Time{})
		err = s.work(ctx, b)
		s.close(b, err)
		delivered += b.delivered
		switch {
		case ctx.Err() != nil:
			return delivered, ctx.Err()
		case err == nil && b.delivered+b.rejected == 0:
			return delivered, s.record(ctx, nil)
		case err == nil || errors.Is(err, errEnough):
			continue // what came meanwhile
		}
		wait := s.retry(err)
		if s.failed >= s.cfg.Retry.MaxAttempts || !s.cfg.Retry.Enabled || outcomeOf(err) != Later {
			return delivered, errors.Join(err, s.record(ctx, err))
		}
		s.log.Warn("chunk not delivered, will retry", "error", err, "attempt", s.failed, "backoff_ms", wait.Milliseconds())
		select {
		case <-ctx.Done():
			return delivered, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// retry sets when the next request may go after a failed one.
func (s *Shipper) retry(err error) time.Duration {
	s.failed++
	wait := s.cfg.UploadInterval
	if s.cfg.Retry.Enabled {
		wait = backoff(s.cfg.Retry, s.failed, rand.Float64())
	}
	if f, ok := errors.AsType[*fault](err); ok {
		if f.outcome == Misconfigured {
			wait = slowWait(s.cfg.Retry, rand.Float64())
		}
		if f.status == 0 && f.outcome == Later {
			// Nobody answered, so nobody is spared by a long wait; and when the link
			// is back the present is to be seen within a round.
			wait = min(wait, s.cfg.UploadInterval)
		}
		wait = max(wait, f.wait)
	}
	s.notBefore = time.Now().Add(wait)
	s.detail.RetryAtMs = s.notBefore.UnixMilli()
	s.log.Debug("waiting before the next try", "attempt", s.failed, "backoff_ms", wait.Milliseconds())
	return wait
}

func outcomeOf(err error) Outcome {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.outcome
	}
	return Later
}

// beat is the time to the next round. One that is all but here is this one: the
// timer is not the clock.
func (s *Shipper) beat() time.Duration {
	wait := beat(time.Now(), s.cfg.UploadInterval, s.device)
	if wait < s.cfg.UploadInterval/20 {
		wait += s.cfg.UploadInterval
	}
	return wait
}
