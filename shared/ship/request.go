package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/status"

	"github.com/google/uuid"

	"github.com/taniwha3/thugshells/shared/store"
)

// A round is what one run of the upload loop sends: what it sent and what came of it.
type round struct {
	id        string
	begun     time.Time
	until     time.Time // when the next round is due; zero: whenever this one is done
	requests  int
	delivered int // samples
	rejected  int
	resent    int
	isolated  int   // requests that looked for bad rows
	small     bool  // there are no bytes for more than one small request
	sent      int64 // bytes on the wire
	received  int64
	status    int // of the last answer
}

func newRound(until time.Time) *round {
	return &round{id: uuid.NewString(), begun: time.Now(), until: until}
}

// timeIsUp says that the round has had its time.
func (b *round) timeIsUp() bool { return !b.until.IsZero() && !time.Now().Before(b.until) }

// errRoundOver ends a round without a fault: its time or its bytes are used up, or
// the daemon is stopping. What is left goes with the next one.
var errRoundOver = errors.New("enough for this round")

// A request is one POST under way. Its chunk is in use until it is answered.
type request struct {
	c     *chunk
	index int
	ended bool // a connection ended without a word before this
	done  chan struct{}
	a     answer
	err   error
}

// start makes a request in the background.
func (s *Shipper) start(ctx context.Context, b *round, c *chunk) *request {
	f := &request{c: c, index: b.requests, ended: s.client.link.ended.Swap(false), done: make(chan struct{})}
	b.requests++
	go func() {
		defer close(f.done)
		f.a, f.err = s.client.post(ctx, c.body, b.id, f.index)
	}()
	return f
}

// A result is what a landed request means for the rows of its chunk.
type result struct {
	outcome Outcome
	taken   []store.Row // Delivered: by the server; pending until they are marked
	refused *refusal    // rows that the server does not take in this company
	err     error       // Later, Misconfigured: the fault
}

// A refusal is rows that were refused together, and the server's words.
type refusal struct {
	rows   []store.Row
	status int
	words  string
}

// land waits for the answer of a request, counts it and weighs it.
func (s *Shipper) wait(ctx context.Context, b *round, f *request) result {
	<-f.done
	a := f.a
	b.sent += a.sent
	b.received += a.received
	b.status = a.status
	s.report.self.Tally.Add(bytesSent, float64(a.sent))
	s.report.self.Tally.Observe(duration, a.took.Seconds())
	s.chargeBudget()
	v := s.interpret(f.c, a, f.err)
	s.report.detail.Outcome, s.report.detail.HTTPStatus = v.outcome.String(), a.status
	if v.outcome != Delivered {
		if f.ended {
			s.client.link.ended.Store(true)
		}
		s.report.self.Tally.Add(failures, 1)
		switch a.status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // a proxy finds nothing that answers
			s.replay.away = true
		}
	} else {
		s.report.detail.Misconfigured, s.report.detail.RetryAtMs = "", 0
		s.clocks.uploads.observe(a, s.client.url.Host)
		if at := s.serverMs(); at != timeUnknown {
			s.pacing.budget.follow(at, time.Now())
		}
		s.watchServer(a.server, f.ended)
		if len(v.taken) < len(f.c.rows) {
			s.report.self.Tally.Add(partial, 1)
		}
	}
	attrs := []slog.Attr{
		slog.String("batch_id", b.id), slog.Int("chunk_index", f.index), slog.Int("attempt", s.pacing.failed+1),
		slog.Int("count", len(f.c.rows)), slog.Int("accepted", len(v.taken)), slog.String("outcome", v.outcome.String()),
		slog.Int("http_status", a.status), slog.Int64("bytes_sent", a.sent), slog.Int64("bytes_rcvd", a.received),
		slog.Int64("duration_ms", a.took.Milliseconds()),
	}
	if v.err != nil {
		attrs = append(attrs, slog.String("error", v.err.Error()))
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "chunk answered", attrs...)
	return v
}

// weigh says what an answer, or the lack of one, means.
func (s *Shipper) interpret(c *chunk, a answer, err error) result {
	host := s.client.url.Host
	give := func(o Outcome, err error) result {
		if o == Misconfigured {
			s.report.detail.Misconfigured = err.Error()
		}
		return result{outcome: o, err: &fault{outcome: o, status: a.status, wait: retryAfter(a.header), err: err}}
	}
	if err != nil {
		o := Later
		if w, ok := errors.AsType[*fault](err); ok {
			o, err = w.outcome, w.err
		}
		return give(o, fmt.Errorf("send to %s: %w", host, err))
	}
	said := s.client.creds.excerpt(a.body)
	switch o := outcomeOf(a.status); o {
	case Refused:
		return result{outcome: o, refused: &refusal{rows: slices.Clone(c.sent), status: a.status, words: said}}
	case Later, Misconfigured:
		return give(o, fmt.Errorf("%s answered HTTP %d%s", host, a.status, quoted(said)))
	}
	r, err := readReport(a.header, a.body, a.cut, c.lines)
	switch {
	case err != nil:
		return give(Misconfigured, fmt.Errorf("%s answered HTTP %d: %w", host, a.status, err))
	case r.all || len(c.lines) == 0:
		return result{taken: c.sent}
	case len(r.lines) == 0 && r.taken == 0:
		return give(Later, fmt.Errorf("%s took none of the samples%s", host, quoted(said)))
	case len(r.lines) == 0:
		return result{taken: c.rows[:r.taken]}
	}
	v := result{refused: &refusal{status: a.status, words: s.client.creds.excerpt([]byte(r.because))}}
	for line := range c.lines {
		if slices.Contains(r.lines, line) {
			v.refused.rows = append(v.refused.rows, c.samplesOf(line)...)
		} else {
			v.taken = append(v.taken, c.samplesOf(line)...)
		}
	}
	return v
}

func quoted(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(": %q", said)
}

// grow sets the size of the next chunk after an answer.
func (s *Shipper) adjustChunk(o Outcome) {
	if o == Delivered {
		s.chunks.limit = min(s.chunks.limit*2, s.cfg.BatchSize)
	} else {
		s.chunks.limit = max(1, s.chunks.limit/2)
	}
}

// acknowledge marks rows as delivered, with the receipt, the counts and the
// status in the same transaction. It is not broken off: what the server has
// taken and we do not mark goes twice.
func (s *Shipper) acknowledge(ctx context.Context, b *round, rows []store.Row, index int) error {
	if len(rows) == 0 {
		return nil
	}
	now, err := moment()
	if err != nil {
		return err
	}
	// The counts go with what they count, before it is known how many rows are
	// still pending. What was counted too much is taken off the next ones, so that
	// the counts never go back.
	count := max(len(rows)-s.report.overcounted, 0)
	before := *s.report.component
	s.report.self.Tally.Add(uploaded, float64(count))
	s.report.component.Succeed(now, count)
	s.pacing.failed, s.pacing.notBefore, s.search.lastAccepted = 0, time.Time{}, rows[0]
	s.replay.remember(now.Wall, rows)
	u := s.update(now)
	receipt := store.Receipt{BatchID: b.id, ChunkIndex: index, At: now.Wall}
	marked, err := s.db.Acknowledge(context.WithoutCancel(ctx), rows, receipt, u)
	if err != nil {
		s.report.self.Tally.Add(uploaded, -float64(count)) // that it was so was never written
		*s.report.component = before
		return fmt.Errorf("%w; they were delivered, and go again because that could not be noted", err)
	}
	s.report.self.wrote(u.Counters)
	s.report.overcounted += count - marked
	b.delivered += marked
	return nil
}

// reject sets rows aside that will never be taken.
func (s *Shipper) reject(ctx context.Context, b *round, bad []store.Rejection) error {
	if len(bad) == 0 {
		return nil
	}
	now, err := moment()
	if err != nil {
		return err
	}
	s.report.self.Tally.Add(rejected, float64(len(bad)))
	s.report.component.Beat(now)
	u := s.update(now)
	n, err := s.db.Reject(context.WithoutCancel(ctx), bad, now.Wall, u)
	if err != nil {
		s.report.self.Tally.Add(rejected, -float64(len(bad))) // that it was so was never written
		return err
	}
	s.report.self.wrote(u.Counters)
	b.rejected += n
	one := bad[0]
	s.log.Warn("samples set aside, metrics-shipper -rejected lists them", "count", n, "http_status", one.HTTPStatus, "reason", one.Reason,
		"server_words", one.Words, "name", one.Series.Name, "tags", one.Series.Tags, "timestamp_ms", one.TimeMs)
	return nil
}

// close logs the round.
func (s *Shipper) close(b *round, err error) {
	if b.requests == 0 {
		if err == nil {
			s.report.detail.Outcome, s.report.detail.HTTPStatus = status.OutcomeIdle, 0
		}
		return
	}
	attrs := []any{
		"batch_id", b.id, "requests", b.requests, "count", b.delivered, "rejected", b.rejected, "resent", b.resent, "attempt", s.pacing.failed + 1,
		"http_status", b.status, "bytes_sent", b.sent, "bytes_rcvd", b.received, "duration_ms", time.Since(b.begun).Milliseconds(),
	}
	if f, ok := errors.AsType[*fault](err); ok && f.wait > 0 {
		attrs = append(attrs, "retry_after_sec", int64(f.wait.Seconds()))
	}
	s.log.Info("round done", attrs...)
}
