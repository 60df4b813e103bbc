package ship

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// liveWindow is the least age up to which a sample counts as new.
const liveWindow = time.Minute

// wholeRound times chunk_size is the size of one small request: everything that a board
// collects at one time, so that no series is always left out.
const wholeRound = 4

// sendAll sends the newest samples, then what a restarted server may have lost,
// then the backlog.
func (s *Shipper) sendAll(ctx context.Context, b *round) error {
	now := time.Now()
	spent := s.pacing.budget.spent(now)
	// While other programs need the link or the bytes are spent, one small request
	// shows the present state. After failures there may be a backlog, and the chunk
	// limit may be 1, so that one request is not enough.
	first := !s.first.until.IsZero() && s.pacing.failed == 0
	small := !s.drainAll && (s.busy(now) || spent || first)
	window := max(2*s.cfg.UploadInterval, liveWindow)
	if spent {
		window = max(window, 2*spentEvery)
	}
	b.small = small
	border := now.Add(-window).UnixMilli()
	if small {
		most := wholeRound * s.cfg.ChunkSize
		if first {
			most = s.cfg.ChunkSize
		}
		s.chunks.limit = min(s.chunks.limit, most)
		if s.cfg.Backfill != "off" {
			border = math.MinInt64 // the newest samples, however old
		}
	}
	if err := s.sendNewest(ctx, b, border, small); err != nil || small {
		return err
	}
	if b.held { // the newest samples stay pending, and others may be behind them
		border = math.MaxInt64
	}
	if err := s.resend(ctx, b); err != nil || b.emptied {
		return err
	}
	if s.cfg.Backfill == "off" && !s.drainAll {
		return nil
	}
	return s.sendBacklog(ctx, b, border)
}

// chunkLimit is how many samples the next request may have: one while the answers do
// not come from the server.
func (s *Shipper) chunkLimit() int {
	if s.client.endpoint.isForeign() {
		return 1
	}
	return s.chunks.limit
}

// sendNewest sends pending samples from border on, the newest first; if once, only one
// chunk.
func (s *Shipper) sendNewest(ctx context.Context, b *round, border int64, once bool) error {
	// Samples that are stored during the round, such as self-metrics, are sent in the
	// next one.
	for meanwhile := (store.Except{}); ; meanwhile = (store.Except{FromMs: b.begun.UnixMilli(), ToMs: time.Now().UnixMilli()}) {
		since := border
		if s.cfg.Backfill == "newest_first" {
			since = math.MinInt64 // all pending samples may fit into this request
		}
		var err error
		limit := s.chunkLimit()
		if s.chunks.rows, err = s.db.NewestSince(ctx, s.chunks.rows[:0], since, meanwhile, limit); err != nil {
			return err
		}
		if b.short = len(s.chunks.rows) < limit; !b.short { // they do not
			s.chunks.rows = slices.DeleteFunc(s.chunks.rows, func(r store.Row) bool { return r.TimeMs < border })
		}
		if len(s.chunks.rows) == 0 {
			return nil
		}
		if once { // series with rejected samples are left out
			if _, others := s.knownBad(s.chunks.rows); len(others) > 0 {
				s.chunks.rows = append(s.chunks.rows[:0], others...)
			}
		}
		all, settled := b.short && since == math.MinInt64, b.delivered+b.rejected
		if err := s.sendRows(ctx, b, s.chunks.rows); err != nil {
			return err
		}
		if b.emptied = all && b.delivered+b.rejected-settled >= len(s.chunks.rows); once || b.held || b.emptied {
			return nil
		}
		if b.timeIsUp() {
			return errRoundOver
		}
	}
}

// sendRows sends rows in as many chunks as their size needs. It returns when all of
// them are delivered, rejected, or left out by the server's answer.
func (s *Shipper) sendRows(ctx context.Context, b *round, rows []store.Row) error {
	for len(rows) > 0 {
		c := &s.chunks.one
		rest, err := s.pack(ctx, b, c, rows)
		if err != nil {
			return err
		}
		rows = rest
		if len(c.rows) == 0 {
			continue
		}
		if err := s.waitForRate(ctx, b); err != nil {
			return err
		}
		r := s.start(ctx, b, c)
		if err := s.apply(ctx, b, r, s.wait(ctx, b, r)); err != nil {
			return err
		}
	}
	return nil
}

// pack makes a chunk of the first rows, as many as the byte limit allows, and rejects
// rows that the server would drop without an error.
func (s *Shipper) pack(ctx context.Context, b *round, c *chunk, rows []store.Row) (rest []store.Row, err error) {
	rule, err := s.timeRuleFor(ctx, b, rows)
	if err != nil {
		return nil, err
	}
	if rest, err = s.enc.pack(c, rows, s.pacing.budget.chunkBytes(), rule); err != nil {
		return nil, err
	}
	c.last = b.short && len(rest) == 0
	if c.held > 0 {
		b.held = true
	}
	if len(c.bad) > 0 {
		s.clocks.confirmation.noteRejected(rule)
	}
	if len(rest) > 0 {
		s.chunks.limit = len(rows) - len(rest)
	}
	return rest, s.reject(ctx, b, c.bad)
}

// sendBacklog sends samples older than border, by priority and in the order of
// remote.backfill, until the round is over. During a request the rows of the one before
// it are marked and the next chunk is packed.
func (s *Shipper) sendBacklog(ctx context.Context, b *round, border int64) error {
	if s.drainAll {
		border = math.MaxInt64
	}
	var at store.Cursor
	current, err := s.startNext(ctx, b, &at, border)
	for current != nil && err == nil {
		var ahead *chunk
		ahead, err = s.packNext(ctx, b, &at, border)
		v := s.wait(ctx, b, current)
		var next *request
		whole := v.outcome == Delivered && len(v.accepted) == len(current.c.rows)
		if ahead != nil && err == nil && whole && s.pacing.budget.rate == 0 && s.mayContinue(ctx, b) == nil {
			next = s.start(ctx, b, ahead)
		}
		// Accepted rows are marked first, whatever else went wrong.
		if fault := s.apply(ctx, b, current, v); fault != nil {
			if next != nil {
				<-next.done // its rows stay pending and are sent again
				s.chargeBudget()
			}
			return fault
		}
		if next == nil && ahead != nil && err == nil {
			if err = s.mayContinue(ctx, b); err == nil {
				next = s.start(ctx, b, ahead)
			}
		}
		current = next
	}
	return err
}

// startNext starts the request for the first chunk of the backlog, if there is one.
func (s *Shipper) startNext(ctx context.Context, b *round, at *store.Cursor, border int64) (*request, error) {
	c, err := s.packNext(ctx, b, at, border)
	if c == nil || err != nil {
		return nil, err
	}
	if err := s.mayContinue(ctx, b); err != nil {
		return nil, err
	}
	return s.start(ctx, b, c), nil
}

// packNext packs the rows after the cursor, nil for none. Two chunks take turns, so
// that one is unchanged during its request while the next is packed.
func (s *Shipper) packNext(ctx context.Context, b *round, at *store.Cursor, border int64) (*chunk, error) {
	s.chunks.turn = 1 - s.chunks.turn
	c := &s.chunks.pair[s.chunks.turn]
	for {
		var err error
		limit := s.chunkLimit()
		c.in, err = s.db.Backlog(ctx, c.in[:0], at, border, s.cfg.Backfill == "oldest_first", limit)
		if err != nil || len(c.in) == 0 {
			return nil, err
		}
		for more := true; more && len(c.in) < limit; { // of the next priority
			had := len(c.in)
			if c.in, err = s.db.Backlog(ctx, c.in, at, border, s.cfg.Backfill == "oldest_first", limit-had); err != nil {
				return nil, err
			}
			more = len(c.in) > had
		}
		b.short = len(c.in) < limit
		rest, err := s.pack(ctx, b, c, c.in)
		if err != nil {
			return nil, err
		}
		if len(rest) > 0 {
			at.Rewind(c.in[len(c.in)-len(rest)-1])
		}
		if len(c.rows) > 0 {
			return c, nil
		}
	}
}
