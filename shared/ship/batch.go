package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/taniwha3/thugshells/shared/store"
)

// A batch is one round: what it sent and what came of it.
type batch struct {
	id        string
	begun     time.Time
	requests  int
	delivered int // samples
	rejected  int
	sent      int64 // bytes on the wire
	received  int64
	status    int // of the last answer
}

func newBatch(now time.Time) *batch { return &batch{id: uuid.NewString(), begun: now} }

// A refusal is rows that the server will not take in this company, and its
// words.
type refusal struct {
	rows   []store.Row
	status int
	words  string
}

// ship sends rows in as many chunks as their size asks for. It returns once all
// of them are delivered or set aside, or else a fault.
func (s *Shipper) ship(ctx context.Context, b *batch, rows []store.Row) error {
	for len(rows) > 0 {
		c, rest, err := s.enc.pack(rows, maxChunkBytes, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			s.limit = max(1, len(rows)-len(rest))
		}
		rows = rest
		if len(c.bad) > 0 {
			if err := s.reject(ctx, b, c.bad); err != nil {
				return err
			}
		}
		if len(c.rows) == 0 {
			continue
		}
		refused, err := s.send(ctx, b, c)
		if err != nil {
			return err
		}
		if refused != nil {
			return &fault{outcome: Misconfigured, status: refused.status, err: fmt.Errorf("refused: %s", refused.words)}
		}
	}
	return nil
}

// send makes one request and enters what came of it: what was taken is marked.
// Refused rows are returned and stay pending; an error is a fault, or of the
// database.
func (s *Shipper) send(ctx context.Context, b *batch, c *chunk) (*refusal, error) {
	index := b.requests
	b.requests++
	a, err := s.client.post(ctx, c.body, b.id, index)
	b.sent += a.sent
	b.received += a.received
	b.status = a.status
	s.self.tally.Add(bytesSent, float64(a.sent))
	s.self.tally.Observe(duration, a.took.Seconds())

	outcome, taken, refused := s.weigh(c, a, &err)
	s.log.LogAttrs(ctx, slog.LevelDebug, "chunk answered",
		slog.String("batch_id", b.id), slog.Int("chunk_index", index), slog.Int("attempt", s.failed+1),
		slog.Int("count", len(c.rows)), slog.Int("accepted", len(taken)), slog.String("outcome", outcome.String()),
		slog.Int("http_status", a.status), slog.Int64("bytes_sent", a.sent), slog.Int64("bytes_rcvd", a.received),
		slog.Int64("duration_ms", a.took.Milliseconds()), slog.Any("error", err))
	s.detail.Outcome, s.detail.HTTPStatus = outcome.String(), a.status
	if outcome == Delivered {
		s.limit = min(s.limit*2, s.cfg.BatchSize)
	} else {
		s.limit = max(1, s.limit/2)
		s.self.tally.Add(failures, 1)
	}
	if outcome == Later || outcome == Misconfigured {
		f := &fault{outcome: outcome, status: a.status, wait: retryAfter(a.header), err: err}
		if outcome == Misconfigured {
			s.detail.Misconfigured = err.Error()
		}
		return nil, f
	}
	if len(taken) < len(c.rows) && outcome == Delivered {
		s.self.tally.Add(partial, 1)
	}
	if err := s.acknowledge(ctx, b, taken, index); err != nil {
		return nil, err
	}
	return refused, nil
}

// weigh says what an answer means for the rows of a chunk. For Later and
// Misconfigured it sets err.
func (s *Shipper) weigh(c *chunk, a answer, err *error) (o Outcome, taken []store.Row, refused *refusal) {
	if *err != nil {
		*err = fmt.Errorf("send to %s: %w", s.client.url.Host, *err)
		return Later, nil, nil
	}
	said := words(a.body, maxWords)
	o = judge(a.status)
	if o == Refused {
		return o, nil, &refusal{rows: slices.Clone(c.rows), status: a.status, words: said}
	}
	if o != Delivered {
		*err = fmt.Errorf("%s answered HTTP %d: %q", s.client.url.Host, a.status, said)
		return o, nil, nil
	}
	r, bad := readReport(a.header, a.body, a.cut, c.lines)
	switch {
	case bad != nil:
		*err = fmt.Errorf("%s answered HTTP %d: %w: %q", s.client.url.Host, a.status, bad, said)
		return Misconfigured, nil, nil
	case r.all:
		return o, c.rows, nil
	case len(r.lines) == 0 && r.taken == 0:
		*err = fmt.Errorf("%s accepted none of the samples: %q", s.client.url.Host, said)
		return Later, nil, nil
	case len(r.lines) == 0:
		return o, c.rows[:r.taken], nil
	}
	refused = &refusal{status: a.status, words: words([]byte(r.because), maxWords)}
	for line := range c.lines {
		if slices.Contains(r.lines, line) {
			refused.rows = append(refused.rows, c.samplesOf(line)...)
		} else {
			taken = append(taken, c.samplesOf(line)...)
		}
	}
	return o, taken, refused
}

// acknowledge marks rows as delivered, with the receipt, the counts and the
// status in the same transaction. It is not broken off: what the server has
// taken and we do not mark goes twice.
func (s *Shipper) acknowledge(ctx context.Context, b *batch, rows []store.Row, index int) error {
	if len(rows) == 0 {
		return nil
	}
	now, err := moment()
	if err != nil {
		return err
	}
	s.self.tally.Add(uploaded, float64(len(rows)))
	s.part.Succeed(now, len(rows))
	s.failed, s.notBefore = 0, time.Time{}
	s.detail.Misconfigured, s.detail.RetryAtMs = "", 0
	u := s.update(now)
	receipt := store.Receipt{BatchID: b.id, ChunkIndex: index, At: now.Wall}
	if _, err := s.db.Acknowledge(context.WithoutCancel(ctx), rows, receipt, u); err != nil {
		return fmt.Errorf("%w; they were delivered, and go again because that could not be noted", err)
	}
	s.self.wrote(u.Counters)
	b.delivered += len(rows)
	return nil
}

// reject sets rows aside that will never be taken.
func (s *Shipper) reject(ctx context.Context, b *batch, bad []store.Rejection) error {
	now, err := moment()
	if err != nil {
		return err
	}
	s.self.tally.Add(rejected, float64(len(bad)))
	s.part.Beat(now)
	u := s.update(now)
	n, err := s.db.Reject(context.WithoutCancel(ctx), bad, now.Wall, u)
	if err != nil {
		return err
	}
	s.self.wrote(u.Counters)
	b.rejected += n
	one := bad[0]
	s.log.Warn("samples set aside, metrics-shipper -rejected lists them", "count", n, "http_status", one.HTTPStatus,
		"reason", one.Reason, "name", one.Series.Name, "tags", one.Series.Tags, "timestamp_ms", one.TimeMs)
	return nil
}

// close logs the round.
func (s *Shipper) close(b *batch, err error) {
	if b.requests == 0 {
		if err == nil {
			s.detail.Outcome, s.detail.HTTPStatus = "idle", 0
		}
		return
	}
	attrs := []any{
		"batch_id", b.id, "requests", b.requests, "count", b.delivered, "rejected", b.rejected, "attempt", s.failed + 1,
		"http_status", b.status, "bytes_sent", b.sent, "bytes_rcvd", b.received, "duration_ms", time.Since(b.begun).Milliseconds(),
	}
	if f, ok := errors.AsType[*fault](err); ok && f.wait > 0 {
		attrs = append(attrs, "retry_after_sec", int64(f.wait.Seconds()))
	}
	s.log.Info("round done", attrs...)
}
