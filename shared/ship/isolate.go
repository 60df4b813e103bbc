package ship

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/taniwha3/thugshells/shared/store"
)

// maxIsolation bounds the requests that look for bad rows in one round; rows that were
// not judged stay pending for the next.
const maxIsolation = 100

const (
	// maxRefused bounds the series that are remembered as having rejected rows.
	maxRefused = 64
	// maxKnownBad is how many rows of such series are sent one by one.
	maxKnownBad = 16
)

// isolate finds the rows because of which a chunk was refused, and rejects them; the
// others are delivered. A row is rejected only if it was refused alone, twice, and the
// server accepted another sample before, between and after: a server that refuses
// everything for a while costs no good sample.
func (s *Shipper) isolate(ctx context.Context, b *round, r *refusal) error {
	if b.isolated >= maxIsolation {
		return errRoundOver
	}
	if s.search.budget.isSpent() {
		return s.searchSpent(r)
	}
	// A small request leaves out series with rejected samples, unless it would be empty.
	// If it has others as well, the cause is a new one: look for it once.
	if b.small {
		if _, others := s.knownBad(r.rows); len(others) == 0 {
			return errRoundOver
		}
	}
	if err := s.mayIsolate(ctx, b); err != nil {
		return err
	}
	// If the body is too large, nothing else is wrong with the endpoint.
	if r.status != http.StatusRequestEntityTooLarge || len(r.rows) == 1 {
		if err := s.canary(ctx, b, r); err != nil {
			return err
		}
	}
	s.log.Info("chunk rejected; looking for the samples that caused it", "batch_id", b.id, "count", len(r.rows),
		"http_status", r.status, "server_words", r.words)
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

// searchSpent is the fault of a chunk with bad samples on a day whose bytes for finding
// them are used up. The next chunks are smaller, so that good samples still arrive.
func (s *Shipper) searchSpent(r *refusal) error {
	what := fmt.Sprintf("%s answered HTTP %d to %d samples%s, and today's bytes for finding the bad ones are used up",
		s.client.url.Host, r.status, len(r.rows), quoted(r.words))
	s.pacing.littleTaken = true
	s.report.detail.LittleTaken = what
	return &fault{outcome: Later, status: r.status, err: errors.New(what)}
}

// takeApart sends the refused rows in halves, and halves of the halves that are refused
// again, down to single rows. It returns the rows that were refused alone; left says
// that rows are left which it could not judge in this round.
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

// knownBad divides rows into those of series with rejected samples and the others: a
// series that was rejected is usually rejected again.
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

// confirm sends each suspect once more, between two samples that the server accepts,
// and rejects those that are refused again.
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

// probe sends the chunk s.chunks.one and marks its accepted rows.
func (s *Shipper) probe(ctx context.Context, b *round) (result, error) {
	req, v, err := s.send(ctx, b)
	if err != nil {
		return v, err
	}
	return v, s.acknowledge(ctx, b, v.accepted, req.index)
}

// mayIsolate says whether the search may make another request.
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
	req := s.start(ctx, b, &s.chunks.one)
	v := s.wait(ctx, b, req)
	b.searching = false
	return req, v, v.err
}
