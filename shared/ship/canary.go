package ship

import (
	"context"
	"fmt"
	"math"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// canary sends a sample that the server must accept: the last one that it accepted, and
// if there is none or the server does not accept it any more, a new self-metric. If
// neither is accepted, single samples are not the cause of the refusal.
func (s *Shipper) canary(ctx context.Context, b *round, r *refusal) error {
	known := s.search.lastAccepted.Series != nil
	if !known {
		var err error
		if s.search.lastAccepted, known, err = s.db.LastDelivered(ctx); err != nil {
			return err
		}
	}
	if known {
		passed, err := s.offer(ctx, b, s.search.lastAccepted, false)
		if passed || err != nil {
			return err
		}
	}
	own, known, err := s.ownSample(ctx)
	if err != nil {
		return err
	}
	if known {
		passed, err := s.offer(ctx, b, own, true)
		if passed || err != nil {
			return err
		}
	}
	err = fmt.Errorf("%s answers HTTP %d to everything%s", s.client.url.Host, r.status, quoted(r.words))
	s.report.detail.Misconfigured = err.Error()
	s.report.detail.Outcome = Misconfigured.String()
	if r.page {
		s.client.endpoint.reject()
	}
	return &fault{outcome: Misconfigured, status: r.status, foreign: r.page, err: err}
}

// offer sends one row and says whether it was accepted. A pending row is marked then;
// one that was delivered before counts as no delivery and gets no receipt.
func (s *Shipper) offer(ctx context.Context, b *round, row store.Row, pending bool) (passed bool, err error) {
	rows := []store.Row{row}
	if _, err := s.enc.pack(&s.chunks.one, rows, math.MaxInt, timeRule{}); err != nil || len(s.chunks.one.rows) == 0 {
		return false, err
	}
	var v result
	if pending {
		v, err = s.probe(ctx, b)
	} else {
		_, v, err = s.send(ctx, b)
	}
	return len(v.accepted) == 1, err
}

// ownSample stores the self-metrics and returns one of them.
func (s *Shipper) ownSample(ctx context.Context) (row store.Row, ok bool, err error) {
	now, err := store.Now()
	if err != nil {
		return row, false, err
	}
	group := store.Group{Priority: status.SelfPriority, Self: true, Samples: s.report.self.Tally.Samples(now.Wall.UnixMilli())}
	if _, err := s.db.Record(context.WithoutCancel(ctx), store.Update{Groups: []store.Group{group}}); err != nil {
		return row, false, err
	}
	rows, err := s.db.NewestSince(ctx, nil, now.Wall.UnixMilli(), store.Except{}, 1000)
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
