// Package ship gets stored samples to the server: at least once each, marked
// only after the server accepted them, and without ever blocking on a sample or an
// answer.
//
// The one rule here: a row changes its state only by what an answer said about
// it. Start at Shipper.Round in round.go; lanes.go has what a round sends,
// request.go the life of one request, outcome.go and endpoint.go what an answer
// means.
package ship

import (
	"context"
	"log/slog"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// eagerFor is how long after its start a shipper that found nothing pending
	// looks again every eagerEvery, instead of waiting for its beat, so that
	// the first samples of a board that was just started are seen at once.
	eagerFor   = 15 * time.Second
	eagerEvery = 250 * time.Millisecond
)

// A Shipper sends what is pending. It is owned by one goroutine, except for
// CheckSkew.
type Shipper struct {
	db       *store.DB
	cfg      config.Remote
	log      *slog.Logger
	progress func() // called as a long round gets on
	client   *client
	enc      encoder

	pacing pacing
	first  firstRound
	chunks chunking
	clocks clocks
	report report
	search search
	replay replay

	drainAll bool // everything goes now, whatever the budget
}

// A firstRound is when the samples of a board that just started are looked for.
type firstRound struct {
	notBefore time.Time // the device's share of the first second
	until     time.Time // zero: the first samples are not waited for any more
}

// A chunking is how many samples a request may have at present, and buffers.
type chunking struct {
	limit int // samples
	rows  []store.Row
	one   chunk
	pair  [2]chunk // take turns: one is under way while the next is packed
	turn  int
}

// Clocks are estimates of the server's time.
type clocks struct {
	uploads clock // by answers that took samples, which only the server gives
	probe   clock // by the answers of clock_skew_url
	check   skewCheck

	confirmation confirmation // of uploads
}

// A search is what is known of samples that the server rejects.
type search struct {
	badSeries    map[int64]bool // ids of series that had samples rejected
	lastAccepted store.Row      // zero: not known
	budget       searchBudget
}

// New prepares the shipping of db's samples and takes over what an earlier run
// left. Progress is called whenever a long round gets on. An error is of the
// configuration, of a file that it names, or of the database.
func New(ctx context.Context, db *store.DB, cfg config.Config, d status.Daemon, log *slog.Logger, progress func()) (*Shipper, error) {
	c, err := newClient(cfg, d.Version)
	if err != nil {
		return nil, err
	}
	traffic, err := newTraffic(cfg)
	if err != nil {
		return nil, err
	}
	rows, err := db.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	check, err := newSkewCheck(c, cfg, d, rows)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Shipper{
		db: db, cfg: cfg.Remote, log: log.With("endpoint", c.url.Host), progress: progress, client: c,
		enc:    encoder{compress: cfg.Remote.Compression, site: cfg.Device.Site},
		pacing: pacing{budget: newBudget(cfg.Remote.MaxKbps, cfg.Remote.MaxBytesPerDay, now), traffic: traffic},
		first:  firstRound{notBefore: now.Add(share(time.Second, cfg.Device.ID)), until: now.Add(eagerFor)},
		chunks: chunking{limit: cfg.Remote.ChunkSize},
		clocks: clocks{check: check},
		report: report{component: component(d, status.ShipperRow, cfg.Remote.UploadInterval, rows), self: newOwn(d.Name)},
		search: search{badSeries: map[int64]bool{}},
	}
	s.report.detail = status.Shipper{Outcome: status.OutcomeIdle, Endpoint: c.url.Host, Plaintext: c.plaintextSecret()}
	return s, s.restore(ctx, d, rows)
}

// restore takes over what an earlier run left.
func (s *Shipper) restore(ctx context.Context, d status.Daemon, rows []status.Row) error {
	counts, err := s.db.Counters(ctx)
	if err != nil {
		return err
	}
	s.report.self.restore(counts)
	s.pacing.budget.restore(counts)
	s.search.budget.restore(counts)
	for _, old := range rows {
		if old.Component != status.ShipperRow {
			continue
		}
		// The detail of another version may not be readable; then nothing is taken over.
		left, err := status.Detail[status.Shipper](old)
		if err != nil {
			continue
		}
		s.replay.Settling = left.Settling
		if old.State != status.Stopped && old.BootID != d.BootID {
			s.replay.afterPowerCut()
		}
	}
	return nil
}

// component begins a status row and takes over what an earlier run left in it.
func component(d status.Daemon, name string, interval time.Duration, old []status.Row) *status.Component {
	c := status.NewComponent(d, name, interval)
	for _, row := range old {
		if row.Component == name {
			c.Restore(row)
		}
	}
	return c
}
