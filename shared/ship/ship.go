// Package ship sends stored samples to the server: each at least once. A sample is
// marked only after the server accepted it, and no sample and no answer can stop the
// others.
//
// The one rule here: only an answer of the server about a row changes the row's
// state. Start at Shipper.Round in round.go; lanes.go chooses what a round sends,
// request.go has the life of one request, outcome.go and endpoint.go say what an
// answer means.
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
	// A shipper that found nothing pending looks again every firstRoundEvery during
	// firstRoundFor after its start, instead of once an upload interval, so that the
	// first samples of a board are seen at once.
	firstRoundFor   = 15 * time.Second
	firstRoundEvery = 250 * time.Millisecond
)

// A Shipper sends pending samples. It is owned by one goroutine, except for
// CheckSkew.
type Shipper struct {
	db       *store.DB
	cfg      config.Remote
	log      *slog.Logger
	progress func() // called from time to time in a long round, for the watchdog
	client   *client
	enc      encoder

	pacing pacing
	first  firstRound
	chunks chunking
	clocks clocks
	report report
	search search
	replay replay

	drainAll bool // send everything now, whatever the budget
}

// A firstRound is the time in which the first samples of a board are looked for.
type firstRound struct {
	notBefore time.Time // within the first second, at a point that the device's id decides
	until     time.Time // zero: the first round is over
}

// A chunking is the present size of a request, and buffers.
type chunking struct {
	limit int // samples
	rows  []store.Row
	one   chunk
	pair  [2]chunk // take turns: one is under way while the next is packed
	turn  int
}

// Clocks are estimates of the server's time.
type clocks struct {
	uploads clock // from answers that accepted samples, which only the server gives
	probe   clock // from answers of clock_skew_url
	check   skewCheck

	confirmation confirmation // of uploads
}

// A search is what is known about samples that the server rejects.
type search struct {
	badSeries    map[int64]bool // ids of series that had samples rejected
	lastAccepted store.Row      // zero: not known
	budget       searchBudget
}

// New prepares the upload of db's samples and takes over the state that an earlier
// run stored. Progress is called from time to time in a long round. An error comes
// from the configuration, a file that it names, or the database.
func New(ctx context.Context, db *store.DB, cfg config.Config, d status.Daemon, log *slog.Logger,
	progress func(),
) (*Shipper, error) {
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
		first:  firstRound{notBefore: now.Add(share(time.Second, cfg.Device.ID)), until: now.Add(firstRoundFor)},
		chunks: chunking{limit: cfg.Remote.ChunkSize},
		clocks: clocks{check: check},
		report: report{component: component(d, status.ShipperRow, cfg.Remote.UploadInterval, rows), self: newSelfMetrics(d.Name)},
		search: search{badSeries: map[int64]bool{}},
	}
	s.report.detail = status.Shipper{Outcome: status.OutcomeIdle, Endpoint: c.url.Host, Plaintext: c.plaintextSecret()}
	return s, s.restore(ctx, d, rows)
}

// restore takes over the state that an earlier run stored.
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
		// The detail of another version may be unreadable; then it is ignored.
		left, err := status.Detail[status.Shipper](old)
		if err != nil {
			continue
		}
		s.replay.resume(left.Settling)
		// A power cut may have been the server's as well; one that did not answer may have
		// been restarted since.
		if old.State != status.Stopped && old.BootID != d.BootID || old.FailingSinceMs > 0 {
			s.replay.afterRestart()
		}
	}
	return nil
}

// component begins a status row with the totals that an earlier run left in it.
func component(d status.Daemon, name string, interval time.Duration, old []status.Row) *status.Component {
	c := status.NewComponent(d, name, interval)
	for _, row := range old {
		if row.Component == name {
			c.Restore(row)
		}
	}
	return c
}
