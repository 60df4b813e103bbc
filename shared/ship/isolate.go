package ship

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/taniwha3/thugshells/shared/store"
)

// maxIsolation bounds the requests that look for bad rows in one round; what is
// left stays pending for the next.
const maxIsolation = 100

// isolate finds the rows for which a chunk was refused and sets them aside; the
// others are delivered. A row is only ever blamed between two requests that were
// taken: one that shows that the way to the server is good, before anything is
// taken apart, and one after the row was refused alone.
func (s *Shipper) isolate(ctx context.Context, b *batch, r *refusal) error {
	// A body that is too large says nothing about the way there.
	if r.status != http.StatusRequestEntityTooLarge || len(r.rows) == 1 {
		if err := s.canary(ctx, b, r); err != nil {
			return err
		}
	}
	s.log.Info("chunk refused, looking for the samples that are the reason", "batch_id", b.id, "count", len(r.rows), "http_status", r.status, "server_words", r.words)
	var suspects []store.Rejection
	suspect := func(r *refusal) {
		suspects = append(suspects, store.Rejection{Row: r.rows[0], HTTPStatus: r.status, Reason: "the server refuses this sample and takes others", Words: r.words})
	}
	blame := func() error {
		blamed := suspects
		suspects = nil
		return s.reject(ctx, b, blamed)
	}
	parts := [][]store.Row{r.rows}
	halve := func(rows []store.Row) {
		half := len(rows) / 2
		parts = append(parts, rows[half:], rows[:half])
	}
	if len(r.rows) == 1 {
		suspect(r)
		parts = nil
	} else {
		parts = nil
		halve(r.rows)
	}
	for ; len(parts) > 0 && b.isolated < maxIsolation; b.isolated++ {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		rest, err := s.pack(ctx, b, &s.one, part)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			parts = append(parts, rest)
		}
		if len(s.one.rows) == 0 {
			continue
		}
		if err := s.pace(ctx, b); err != nil {
			return err
		}
		f := s.start(ctx, b, &s.one)
		v := s.land(ctx, b, f)
		if v.err != nil {
			return v.err // those under suspicion stay pending
		}
		if err := s.acknowledge(ctx, b, v.taken, f.index); err != nil {
			return err
		}
		if len(v.taken) > 0 {
			if err := blame(); err != nil {
				return err
			}
		}
		switch {
		case v.refused == nil:
		case len(v.refused.rows) == 1:
			suspect(v.refused)
		default:
			halve(v.refused.rows)
		}
	}
	if len(suspects) > 0 {
		if err := s.canary(ctx, b, r); err != nil {
			return err
		}
		if err := blame(); err != nil {
			return err
		}
	}
	if len(parts) > 0 {
		return errEnough
	}
	return nil
}

// canary sends a sample that the server must take: the last one it took, and if
// it does not take that any more, or there is none, a fresh one about ourselves.
// If none passes, the fault is not the samples'.
func (s *Shipper) canary(ctx context.Context, b *batch, r *refusal) error {
	known := s.lastGood.Series != nil
	if !known {
		var err error
		if s.lastGood, known, err = s.db.LastDelivered(ctx); err != nil {
			return err
		}
	}
	if known {
		passed, err := s.try(ctx, b, s.lastGood)
		if passed || err != nil {
			return err
		}
	}
	own, known, err := s.ownSample(ctx)
	if err != nil {
		return err
	}
	if known {
		passed, err := s.try(ctx, b, own)
		if passed || err != nil {
			return err
		}
	}
	err = fmt.Errorf("%s answers HTTP %d to everything%s", s.client.url.Host, r.status, quoted(r.words))
	s.detail.Misconfigured = err.Error()
	s.detail.Outcome = Misconfigured.String()
	return &fault{outcome: Misconfigured, status: r.status, err: err}
}

// try sends one row and says whether it was taken.
func (s *Shipper) try(ctx context.Context, b *batch, row store.Row) (passed bool, err error) {
	rows := []store.Row{row}
	if _, err := s.enc.pack(&s.one, rows, math.MaxInt, s.serverMs()); err != nil || len(s.one.rows) == 0 {
		return false, err
	}
	if err := s.pace(ctx, b); err != nil {
		return false, err
	}
	f := s.start(ctx, b, &s.one)
	v := s.land(ctx, b, f)
	if v.err != nil {
		return false, v.err
	}
	return len(v.taken) == 1, s.acknowledge(ctx, b, v.taken, f.index)
}

// ownSample stores samples about ourselves and returns one of them.
func (s *Shipper) ownSample(ctx context.Context) (row store.Row, ok bool, err error) {
	now, err := moment()
	if err != nil {
		return row, false, err
	}
	group := store.Group{Priority: selfPriority, Samples: s.self.tally.Samples(now.Wall.UnixMilli())}
	if _, err := s.db.Record(context.WithoutCancel(ctx), store.Update{Groups: []store.Group{group}}); err != nil {
		return row, false, err
	}
	rows, err := s.db.Fresh(ctx, nil, now.Wall.UnixMilli(), 1000)
	if err != nil {
		return row, false, err
	}
	for _, r := range rows {
		if r.Series.Name == uploaded {
			return r, true, nil
		}
	}
	return row, false, nil
}
