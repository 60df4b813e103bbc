// Package ship gets stored samples to the server: at least once each, marked
// only after the server took them, and without ever blocking on a sample or an
// answer.
//
// The one rule here: a row changes its state only by what an answer said about
// it. Start at Shipper.Round, which is one round; batch.go has what happens to
// one chunk, outcome.go what an answer means.
package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// eagerFor is how long after its start a shipper that found nothing pending
	// looks again every eagerEvery, instead of waiting for its beat: whoever
	// starts a board sees its first samples at once.
	eagerFor   = 15 * time.Second
	eagerEvery = 250 * time.Millisecond
)

// A Shipper sends what is pending. It is owned by one goroutine, save for
// CheckSkew.
type Shipper struct {
	db     *store.DB
	cfg    config.Remote
	log    *slog.Logger
	daemon store.Daemon
	client *client
	enc    encoder
	self   self
	part   *store.Part
	detail detail
	alive  func() // called as a long round gets on

	device    string
	limit     int       // samples of a chunk at present
	failed    int       // failures in a row
	notBefore time.Time // of the next request, zero: any time
	eager     time.Time // until when, zero: no longer
}

// New prepares the shipping of db's samples and takes over what an earlier run
// counted. Alive is called whenever a long round gets on.
func New(ctx context.Context, db *store.DB, cfg config.Config, d store.Daemon, log *slog.Logger, alive func()) (*Shipper, error) {
	to, err := url.Parse(cfg.Remote.URL)
	if err != nil {
		return nil, fmt.Errorf("remote.url: %w", err)
	}
	statuses, err := db.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := db.Counters(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{}
	s := &Shipper{
		db: db, cfg: cfg.Remote, log: log.With("endpoint", to.Host), daemon: d, device: cfg.Device.ID, alive: alive,
		client: &client{
			url: to, userAgent: "belabox-metrics/" + d.Version, device: cfg.Device.ID,
			compress: cfg.Remote.Compression, timeout: cfg.Remote.Timeout, link: l, transport: transport(l),
		},
		enc:    encoder{compress: cfg.Remote.Compression},
		part:   part(d, "shipper", cfg.Remote.UploadInterval, statuses),
		detail: detail{Outcome: "idle", Endpoint: to.Host},
		limit:  cfg.Remote.ChunkSize,
		eager:  time.Now().Add(eagerFor),
	}
	s.self.restore(counts)
	return s, nil
}

// Round sends what is pending, the newest first, and returns when the next
// round is due. While there is a reason to wait it only says that it is alive.
//
// The first round comes at once and sends one small chunk; all others come on
// the device's own beat.
func (s *Shipper) Round(ctx context.Context) (next time.Duration, err error) {
	now := time.Now()
	if !s.cfg.Enabled {
		s.detail.Outcome = "disabled"
		return s.beat(), s.record(ctx, nil)
	}
	if wait := s.notBefore.Sub(now); wait > 0 {
		return min(wait, s.cfg.UploadInterval), s.record(ctx, nil)
	}
	until := now.Add(s.beat())
	first := !s.eager.IsZero()
	b := newBatch(now)
	err = s.drain(ctx, b, until, first)
	s.close(b, err)
	switch {
	case err != nil:
		next = s.retry(err)
		s.detail.RetryAtMs = time.Now().Add(next).UnixMilli()
	case first && b.requests == 0 && time.Now().Before(s.eager):
		if s.part.Status().HeartbeatMs != 0 {
			return eagerEvery, nil // it was said already
		}
		next = eagerEvery
	default:
		s.eager = time.Time{}
		next = max(time.Until(until), 0)
	}
	if err != nil || b.delivered == 0 {
		err = errors.Join(err, s.record(ctx, err))
	}
	return min(next, s.cfg.UploadInterval), err
}

// drain sends chunk after chunk until nothing is pending or the time is up.
func (s *Shipper) drain(ctx context.Context, b *batch, until time.Time, once bool) error {
	for {
		rows, err := s.db.Newest(ctx, s.limit)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		if err := s.ship(ctx, b, rows); err != nil {
			return err
		}
		if once || !until.IsZero() && time.Now().After(until) || ctx.Err() != nil {
			return nil
		}
		s.alive()
	}
}

// Drain sends everything that is pending now, however long it takes, with up to
// max_attempts tries in a row. An error says that something could not be sent.
func (s *Shipper) Drain(ctx context.Context) (delivered int, err error) {
	if !s.cfg.Enabled {
		return 0, errors.New("remote.enabled is false: nothing was sent")
	}
	s.self.said = time.Now() // samples about this run would never end
	for {
		b := newBatch(time.Now())
		err = s.drain(ctx, b, time.Time{}, false)
		s.close(b, err)
		delivered += b.delivered
		if err == nil {
			return delivered, errors.Join(ctx.Err(), s.record(ctx, nil))
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
		wait = max(wait, f.wait)
	}
	s.notBefore = time.Now().Add(wait)
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

// record writes the status row and, when they are due, our own samples, where no
// delivery did it.
func (s *Shipper) record(ctx context.Context, fault error) error {
	now, err := moment()
	if err != nil {
		return err
	}
	if fault != nil {
		s.part.Fail(now, fault, 1)
	} else {
		s.part.Beat(now)
	}
	u := s.update(now)
	if _, err := s.db.Record(context.WithoutCancel(ctx), u); err != nil {
		return fmt.Errorf("write the shipper's status: %w", err)
	}
	s.self.wrote(u.Counters)
	return nil
}

// update is what goes into the database with every piece of work.
func (s *Shipper) update(now store.Moment) store.Update {
	s.detail.ChunkSamples = s.limit
	s.part.SetDetail(s.detail.text())
	u := store.Update{Status: []store.Status{s.part.Status()}, Counters: s.self.changed()}
	if own := s.self.samples(s.daemon.Name, now.Wall); len(own) > 0 {
		u.Groups = []store.Group{{Priority: selfPriority, Samples: own}}
	}
	return u
}

// Stop writes that the shipper ended on purpose.
func (s *Shipper) Stop(ctx context.Context) error {
	now, err := moment()
	if err != nil {
		return err
	}
	s.part.Stop(now)
	s.self.said = now.Wall
	_, err = s.db.Record(ctx, s.update(now))
	return err
}

func moment() (store.Moment, error) {
	boot, err := hostfs.BootTime()
	if err != nil {
		return store.Moment{}, fmt.Errorf("read the boot clock: %w", err)
	}
	return store.Moment{Wall: time.Now(), Boot: boot}, nil
}
