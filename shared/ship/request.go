package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// A request is one POST. Its chunk is in use until it is answered.
type request struct {
	c     *chunk
	index int
	ended bool // the connection before it ended without an answer
	done  chan struct{}
	a     answer
	err   error
}

// start makes a request in the background.
func (s *Shipper) start(ctx context.Context, b *round, c *chunk) *request {
	r := &request{c: c, index: b.requests, ended: s.client.link.ended.Swap(false), done: make(chan struct{})}
	b.requests++
	go func() {
		defer close(r.done)
		r.a, r.err = s.client.post(ctx, c.body)
	}()
	return r
}

// A result is what an answer means for the rows of its chunk.
type result struct {
	outcome  Outcome
	accepted []store.Row // Delivered: by the server; pending until they are marked
	refused  *refusal    // rows that the server refused together
	unproven bool        // Delivered, if the endpoint is a metrics server: send the probe
	err      error       // Later, Misconfigured: the fault
}

// A refusal is rows that were refused together, with the server's message.
type refusal struct {
	rows   []store.Row
	status int
	words  string
	page   bool // the words are a page for people, and nothing shows it to be the server's
}

// wait waits for the answer to a request, counts it and says what it means.
func (s *Shipper) wait(ctx context.Context, b *round, r *request) result {
	<-r.done
	s.count(b, r.a)
	v := s.interpret(r.c, r.a, r.err)
	if v.unproven {
		v = s.prove(ctx, b, r)
	}
	d := &s.report.detail
	d.Outcome, d.HTTPStatus = v.outcome.String(), r.a.status
	if v.outcome == Delivered {
		d.Misconfigured, d.RetryAtMs = "", 0
		s.learn(b, r, v)
	} else {
		s.noteFailure(r, v)
	}
	s.logAnswer(ctx, b, r, v)
	return v
}

// count adds the cost of a request to the counts and budgets.
func (s *Shipper) count(b *round, a answer) {
	b.sent += a.sent
	b.received += a.received
	b.status = a.status
	s.report.self.Tally.Add(bytesSent, float64(a.sent))
	s.report.self.Tally.Observe(duration, a.took.Seconds())
	s.chargeBudget()
	s.search.budget.charge(s.pacing.budget.day, a.sent+a.received, b.searching)
}

// learn updates everything else that an answer of the server shows: its name, its
// time, and whether it restarted.
func (s *Shipper) learn(b *round, r *request, v result) {
	b.answered = true
	s.client.endpoint.accept(r.a)
	s.clocks.uploads.observe(r.a, s.client.url.Host)
	if at := s.serverMs(); at != timeUnknown {
		s.pacing.budget.follow(at, time.Now())
	}
	s.watchServer(r.a.server, r.ended)
	if len(v.accepted) < len(r.c.rows) {
		s.report.self.Tally.Add(partial, 1)
	}
}

// noteFailure counts a request that delivered nothing.
func (s *Shipper) noteFailure(r *request, v result) {
	if r.ended {
		s.client.link.ended.Store(true)
	}
	s.report.self.Tally.Add(failures, 1)
	switch r.a.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // from a proxy that cannot reach the server
		s.replay.restarts.away = true
	}
}

func (s *Shipper) logAnswer(ctx context.Context, b *round, r *request, v result) {
	attrs := []slog.Attr{
		slog.String("batch_id", b.id), slog.Int("chunk_index", r.index), slog.Int("attempt", s.pacing.failed+1),
		slog.Int("count", len(r.c.rows)), slog.Int("accepted", len(v.accepted)), slog.String("outcome", v.outcome.String()),
		slog.Int("http_status", r.a.status), slog.Int64("bytes_sent", r.a.sent), slog.Int64("bytes_rcvd", r.a.received),
		slog.Int64("duration_ms", r.a.took.Milliseconds()),
	}
	if v.err != nil {
		attrs = append(attrs, slog.String("error", v.err.Error()))
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "chunk answered", attrs...)
}

// interpret says what an answer, or the lack of one, means for a chunk.
func (s *Shipper) interpret(c *chunk, a answer, err error) result {
	if err != nil {
		return s.unanswered(a, err)
	}
	host, said := s.client.url.Host, s.client.creds.excerpt(a.body)
	switch o := outcomeOf(a.status); {
	case a.status >= 300 && a.status < 400:
		to := s.client.creds.excerpt([]byte(a.header.Get("Location")))
		return s.foreign(a, fmt.Errorf("it redirects to %q, and redirects are not followed", to))
	case a.status == http.StatusNetworkAuthenticationRequired:
		return s.foreign(a, errors.New("the network asks to sign in"))
	case o == Refused:
		return result{outcome: o, refused: &refusal{rows: slices.Clone(c.sent), status: a.status, words: said, page: isPage(a)}}
	case o == Misconfigured && isPage(a) && a.status != http.StatusUnauthorized && a.status != http.StatusProxyAuthRequired:
		return s.foreign(a, errors.New("it is a page, and nothing shows that it is the server's"))
	case o != Delivered:
		return s.fails(o, a, fmt.Errorf("%s answered HTTP %d%s", host, a.status, quoted(said)))
	}
	r, err := readAcceptance(a, c.lines)
	switch {
	case err != nil:
		return s.foreign(a, err)
	case r.silent:
		return s.interpretSilence(c, a)
	case r.all || len(c.lines) == 0:
		return result{accepted: c.sent}
	case len(r.lines) == 0 && r.first == 0:
		return s.fails(Later, a, fmt.Errorf("%s accepted none of the samples%s", host, quoted(said)))
	case len(r.lines) == 0:
		return result{accepted: c.rows[:r.first]}
	}
	v := result{refused: &refusal{status: a.status, words: s.client.creds.excerpt([]byte(r.because))}}
	for line := range c.lines {
		if slices.Contains(r.lines, line) {
			v.refused.rows = append(v.refused.rows, c.samplesOf(line)...)
		} else {
			v.accepted = append(v.accepted, c.samplesOf(line)...)
		}
	}
	return v
}

// fails is the result of a request that delivered nothing and for which no sample is
// to blame.
func (s *Shipper) fails(o Outcome, a answer, err error) result {
	if o == Misconfigured {
		s.report.detail.Misconfigured = err.Error()
	} else if s.client.endpoint.isForeign() {
		s.report.detail.Misconfigured = "" // the captive portal or page is gone
	}
	return result{outcome: o, err: &fault{outcome: o, status: a.status, wait: retryAfter(a.header), err: err}}
}

// unanswered is the result of a request that got no answer.
func (s *Shipper) unanswered(a answer, err error) result {
	o := Later
	if f, ok := errors.AsType[*fault](err); ok {
		o, err = f.outcome, f.err
	}
	return s.fails(o, a, fmt.Errorf("send to %s: %w", s.client.url.Host, err))
}

func quoted(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(": %q", said)
}

// apply marks the accepted rows and looks for the rows because of which the others
// were refused. An error is a fault, or comes from the database.
func (s *Shipper) apply(ctx context.Context, b *round, r *request, v result) error {
	if f, ok := errors.AsType[*fault](v.err); !ok || !f.foreign {
		s.adjustChunk(r, v)
	}
	if v.err != nil {
		return v.err
	}
	if err := s.acknowledge(ctx, b, v.accepted, r.index); err != nil {
		return err
	}
	if err := s.review(ctx); err != nil {
		return err
	}
	if v.refused != nil {
		if err := s.isolate(ctx, b, v.refused); err != nil {
			return err
		}
		if v.outcome != Delivered { // the search found samples that are accepted
			if !s.pacing.littleTaken {
				s.pacing.failed, s.pacing.notBefore = 0, time.Time{}
			}
			return nil
		}
	}
	return s.judgeProgress(r, v)
}
