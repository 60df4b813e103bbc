package ship

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// maxIsolation bounds the requests that look for bad rows in one round; what is
// left stays pending for the next.
const maxIsolation = 100

const (
	// maxRefused bounds the series that are remembered because rows of them were rejected.
	maxRefused = 64
	// maxKnownBad is how many rows of such series are tried one by one.
	maxKnownBad = 16
)

// isolate finds the rows for which a chunk was refused and rejects them; the
// others are delivered. A row is blamed only if it was refused alone, twice, and
// the server took another sample before, between and after: so that a server
// that refuses everything for a while is never the end of a good sample.
func (s *Shipper) isolate(ctx context.Context, b *round, r *refusal) error {
	if b.isolated >= maxIsolation {
		return errRoundOver
	}
	if s.search.budget.isSpent() {
		return s.searchSpent(r)
	}
	// A small request has none of the series that are known for it, unless it has
	// nothing else: so this is news, and found out once.
	if b.small {
		if _, others := s.knownBad(r.rows); len(others) == 0 {
			return errRoundOver
		}
	}
	if err := s.mayIsolate(ctx, b); err != nil {
		return err
	}
	// A body that is too large says nothing about the way there.
	if r.status != http.StatusRequestEntityTooLarge || len(r.rows) == 1 {
		if err := s.canary(ctx, b, r); err != nil {
			return err
		}
	}
	s.log.Info("chunk rejected; looking for the samples that caused it", "batch_id", b.id, "count", len(r.rows), "http_status", r.status, "server_words", r.words)
	suspects, left, err := s.takeApart(ctx, b, r)
	if err != nil {
		return err
	}
	if len(suspects) > 0 {
		if err := s.confirm(ctx, b, r, suspects); err != nil {
			return err
		}
	}
	if left {
		return errRoundOver
	}
	return nil
}

// searchSpent is the fault of a chunk with bad samples, on a day whose bytes for
// finding them are used up. The chunks after it are smaller, and find good ones.
func (s *Shipper) searchSpent(r *refusal) error {
	what := fmt.Sprintf("%s answered HTTP %d to %d samples%s, and the bytes for finding the bad ones are used up for today",
		s.client.url.Host, r.status, len(r.rows), quoted(r.words))
	s.pacing.littleTaken = true
	s.report.detail.LittleTaken = what
	return &fault{outcome: Later, status: r.status, err: errors.New(what)}
}

// takeApart sends halves of the refused rows, and halves of those that are
// refused again, down to single rows; it returns the rows that were refused
// alone. Left says that it had to stop before it was through.
func (s *Shipper) takeApart(ctx context.Context, b *round, r *refusal) (suspects []store.Row, left bool, err error) {
	var parts [][]store.Row
	divide := func(rows []store.Row) {
		if len(rows) == 1 {
			suspects = append(suspects, rows[0])
			return
		}
		half := len(rows) / 2
		parts = append(parts, rows[half:], rows[:half])
	}
	if known, others := s.knownBad(r.rows); len(known) > 0 && len(known) <= maxKnownBad && len(others) > 0 {
		for _, row := range known {
			parts = append(parts, []store.Row{row})
		}
		parts = append(parts, others)
	} else {
		divide(r.rows)
	}
	for len(parts) > 0 && b.isolated < maxIsolation && !s.search.budget.isSpent() {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		rest, err := s.pack(ctx, b, &s.chunks.one, part)
		if err != nil {
			return nil, false, err
		}
		if len(rest) > 0 {
			parts = append(parts, rest)
		}
		if len(s.chunks.one.rows) == 0 {
			continue
		}
		v, err := s.probe(ctx, b)
		if err != nil {
			return nil, false, err
		}
		if v.refused != nil {
			divide(v.refused.rows)
		}
	}
	return suspects, len(parts) > 0, nil
}

// knownBad divides rows into those of series with rejected rows, and
// the others. Most of what a server refuses, it refuses each time.
func (s *Shipper) knownBad(rows []store.Row) (known, others []store.Row) {
	for _, row := range rows {
		if s.search.badSeries[row.Series.ID] {
			known = append(known, row)
		} else {
			others = append(others, row)
		}
	}
	return known, others
}

// confirm sends each suspect once more, between two samples that are taken, and
// rejects those that are refused again.
func (s *Shipper) confirm(ctx context.Context, b *round, r *refusal, suspects []store.Row) error {
	if err := s.canary(ctx, b, r); err != nil {
		return err
	}
	var confirmed []store.Rejection
	for _, row := range suspects {
		if _, err := s.enc.pack(&s.chunks.one, []store.Row{row}, math.MaxInt, timeRule{}); err != nil {
			return err
		}
		v, err := s.probe(ctx, b)
		if err != nil {
			return err
		}
		if v.refused != nil {
			confirmed = append(confirmed, store.Rejection{
				Row: row, HTTPStatus: v.refused.status, Reason: "the server rejects this sample and accepts others", Words: v.refused.words,
			})
		}
	}
	if len(confirmed) == 0 {
		return nil
	}
	if err := s.canary(ctx, b, r); err != nil {
		return err
	}
	if len(s.search.badSeries) > maxRefused {
		clear(s.search.badSeries)
	}
	for _, one := range confirmed {
		s.search.badSeries[one.Series.ID] = true
	}
	return s.reject(ctx, b, confirmed)
}

// probe sends the chunk s.chunks.one and marks what was taken of it.
func (s *Shipper) probe(ctx context.Context, b *round) (result, error) {
	f, v, err := s.send(ctx, b)
	if err != nil {
		return v, err
	}
	return v, s.acknowledge(ctx, b, v.accepted, f.index)
}

// mayIsolate says whether there may be another request of the search.
func (s *Shipper) mayIsolate(ctx context.Context, b *round) error {
	if b.small {
		return s.waitForRate(ctx, b)
	}
	return s.mayContinue(ctx, b)
}

// send sends the chunk s.chunks.one as part of the search.
func (s *Shipper) send(ctx context.Context, b *round) (*request, result, error) {
	if err := s.mayIsolate(ctx, b); err != nil {
		return nil, result{}, err
	}
	b.isolated++
	b.searching = true
	f := s.start(ctx, b, &s.chunks.one)
	v := s.wait(ctx, b, f)
	b.searching = false
	return f, v, v.err
}

// canary sends a sample that the server must take: the last one it took, and if
// it does not take that any more, or there is none, a fresh one about ourselves.
// If none passes, the fault is not the samples'.
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
	return &fault{outcome: Misconfigured, status: r.status, err: err}
}

// offer sends one row and says whether it was taken. If it is pending it is marked
// then; one that was delivered before is no delivery, and has no receipt.
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

// ownSample stores samples about ourselves and returns one of them.
func (s *Shipper) ownSample(ctx context.Context) (row store.Row, ok bool, err error) {
	now, err := moment()
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
