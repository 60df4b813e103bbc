// Package ship gets stored samples to the server: at least once each, marked
// only after the server took them, and without ever blocking on a sample or an
// answer.
//
// The one rule here: a row changes its state only by what an answer said about
// it. Start at Shipper.Round in round.go; lanes.go has what a round sends,
// batch.go what comes of one request, outcome.go what an answer means.
package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
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
	daemon status.Daemon
	device string
	alive  func() // called as a long round gets on
	client *client
	enc    encoder
	self   own
	part   *status.Component

	limit     int       // samples of a chunk at present
	failed    int       // failures in a row
	fault     error     // of the last round
	notBefore time.Time // of the next request, zero: any time
	begins    time.Time // when the first round may come
	eager     time.Time // until when the first samples are waited for, zero: no longer
	lastLive  time.Time // when a round last sent something
	forced    bool      // everything goes now, whatever the budget
	lastGood  store.Row // the last row that the server took

	refused map[int64]bool // ids of series of which rows were set aside by the server

	overcounted int // deliveries that were counted and not marked

	detail   status.Shipper
	settling settling
	budget   budget
	billed   int64 // bytes on the wire that the budget knows of
	traffic  *traffic

	uploads clock // by answers that took samples, which nobody but the server gives
	asked   clock // by whatever answers at clock_skew_url
	check   skewCheck

	visible time.Duration // how long an acknowledged sample may be out of sight; see Verify

	rows   []store.Row // buffers, see lanes.go
	one    chunk
	chunks [2]chunk
	turn   int
}

// New prepares the shipping of db's samples and takes over what an earlier run
// left. Alive is called whenever a long round gets on. An error is of the
// configuration, of a file it names, or of the database.
func New(ctx context.Context, db *store.DB, cfg config.Config, d status.Daemon, log *slog.Logger, alive func()) (*Shipper, error) {
	to, err := url.Parse(cfg.Remote.URL)
	if err != nil {
		return nil, errors.New("remote.url is no URL")
	}
	ask, err := cfg.ClockURL()
	if err != nil {
		return nil, err
	}
	creds, err := newCredentials(cfg.Remote, to, os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return nil, err
	}
	c := &client{
		url: to, userAgent: "belabox-metrics/" + d.Version, device: cfg.Device.ID,
		compress: cfg.Remote.Compression, timeout: cfg.Remote.Timeout, link: &link{}, creds: creds,
	}
	if c.transport, err = newTransport(cfg.Remote, c.link); err != nil {
		return nil, err
	}
	watch, err := newTraffic(cfg)
	if err != nil {
		return nil, err
	}
	statuses, err := db.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := db.Counters(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Shipper{
		db: db, cfg: cfg.Remote, log: log.With("endpoint", to.Host), daemon: d, device: cfg.Device.ID, alive: alive,
		client: c,
		enc:    encoder{compress: cfg.Remote.Compression, retention: cfg.Remote.ServerRetention},
		part:   part(d, status.ShipperRow, cfg.Remote.UploadInterval, statuses),
		limit:  cfg.Remote.ChunkSize,
		begins: now.Add(share(time.Second, cfg.Device.ID)),
		eager:  now.Add(eagerFor),
		budget: newBudget(cfg.Remote.MaxKbps, cfg.Remote.MaxBytesPerDay, now), traffic: watch,
		refused: map[int64]bool{}, visible: visibleAfter,
		check: skewCheck{
			client: c, url: ask, every: cfg.Monitoring.ClockSkewCheckInterval, limit: float64(cfg.Monitoring.ClockSkewWarnThresholdMs),
			part: part(d, status.SkewRow, cfg.Monitoring.ClockSkewCheckInterval, statuses),
		},
	}
	if ask.Host != to.Host {
		// What becomes of its connections says nothing about the server.
		other := &client{url: to, userAgent: c.userAgent, device: c.device, timeout: c.timeout, link: &link{}, creds: creds}
		if other.transport, err = newTransport(cfg.Remote, other.link); err != nil {
			return nil, err
		}
		s.check.client = other
	}
	for _, old := range statuses {
		if old.Component == status.ShipperRow {
			// Of another version's making it may not be read; then nothing is taken over.
			if left, err := status.Detail[status.Shipper](old); err == nil {
				s.settling.Settling = left.Settling
				if old.State != status.Stopped && old.BootID != d.BootID {
					s.settling.begin(now)
				}
			}
		}
	}
	s.detail.Outcome, s.detail.Endpoint = status.OutcomeIdle, to.Host
	s.detail.Plaintext = creds.path != "" && to.Scheme == "http" && !loopback(to.Hostname())
	s.self = newOwn(d.Name)
	s.self.restore(counts)
	s.budget.restore(counts)
	return s, nil
}

// busy says whether the links are to be left to others.
func (s *Shipper) busy(now time.Time) bool {
	busy, err := s.traffic.look(now, s.onWire(func(l *link) int64 { return l.sent.Load() }))
	if blind := err != nil; blind != s.traffic.blind {
		s.traffic.blind = blind
		if !blind {
			s.log.Info("traffic of the links is known again")
		} else {
			s.log.Warn("traffic of the links not known, going on as if it were little", "error", err)
		}
	}
	if busy != s.detail.Busy {
		s.log.Info("links changed; the backlog waits while they are busy", "busy", busy)
	}
	s.detail.Busy = busy
	return busy
}

// onWire sums bytes over all of our links.
func (s *Shipper) onWire(of func(*link) int64) int64 {
	sum := of(s.client.link)
	if s.check.client != s.client {
		sum += of(s.check.client.link)
	}
	return sum
}

// spend enters what went over the wire since the last time.
func (s *Shipper) spend() {
	total := s.onWire(func(l *link) int64 { return l.sent.Load() + l.received.Load() })
	s.budget.spend(total-s.billed, time.Now())
	s.billed = total
	if s.budget.perDay > 0 {
		s.detail.BytesToday = int64(s.budget.used)
	}
}

// sayBudget says whether the day's bytes are spent, and logs the change.
func (s *Shipper) sayBudget(now time.Time) (spent bool) {
	spent = s.budget.spent(now)
	if spent && !s.detail.BudgetSpent {
		s.log.Warn("remote.max_bytes_per_day is spent; the backlog waits for the next day, the newest samples go every 10 minutes", "bytes", int64(s.budget.used))
	} else if !spent && s.detail.BudgetSpent {
		s.log.Info("a new day's bytes begin")
	}
	s.detail.BudgetSpent = spent
	return spent
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
func (s *Shipper) update(now status.Moment) store.Update {
	s.detail.ChunkSamples = s.limit
	s.detail.Settling = s.settling.Settling
	s.part.SetDetail(s.detail)
	u := store.Update{Status: []status.Row{s.part.Row()}}
	if own := s.samples(now.Wall); len(own) > 0 {
		u.Groups = []store.Group{{Priority: status.SelfPriority, Samples: own}}
	}
	u.Counters = s.self.changed(s.budget.counts()) // with what was just said
	return u
}

// samples are our own that are due.
func (s *Shipper) samples(now time.Time) []metric.Sample {
	own := s.self.samples(now)
	if len(own) == 0 {
		return nil
	}
	return append(own, s.skewSample(now.UnixMilli())...)
}

// Stop writes that the shipper ended on purpose.
func (s *Shipper) Stop(ctx context.Context) error {
	now, err := moment()
	if err != nil {
		return err
	}
	s.part.Stop(now)
	s.check.part.Stop(now)
	s.self.hush(now.Wall)
	u := s.update(now)
	u.Status = append(u.Status, s.check.part.Row())
	_, err = s.db.Record(ctx, u)
	return err
}

func moment() (status.Moment, error) {
	boot, err := hostfs.BootTime()
	if err != nil {
		return status.Moment{}, fmt.Errorf("read the boot clock: %w", err)
	}
	return status.Moment{Wall: time.Now(), Boot: boot}, nil
}
