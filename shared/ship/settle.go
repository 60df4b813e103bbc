package ship

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// stretch is how much of the time one status.Span takes in.
	stretch = 10 * time.Second
	// unsettled is how long before the last acknowledgement what was acknowledged
	// may be lost: VictoriaMetrics loses the last 10 s before a kill, and it was
	// not killed before it gave that one.
	unsettled = 15 * time.Second
	// apart is how far apart in time samples may lie that one status.Span takes in.
	apart = 3 * time.Minute
	// maxSpans bounds the spans of one stretch, maxAgain all that are to be sent
	// again.
	maxSpans = 8
	maxAgain = 64
	// maxHosts bounds the names of servers that are remembered.
	maxHosts = 16
	// ignoreAfter is how often in a row a server ends connections without a word until
	// that is no news any more.
	ignoreAfter = 3
)

// replay remembers what was acknowledged lately, and what has to be sent again
// because the server lost it. Its first part is in the status row, so that it
// outlives the process.
type replay struct {
	status.Settling

	ended int // connections in a row that ended without a word
	signs int // of a restart, that made Again longer

	consecutive int // signs, none more than config.Unsettled after the one before
	lastSign    time.Time

	away       bool // a proxy said that the server does not answer
	proxyDowns int  // times in a row that this was so, none more than config.Unsettled after the one before
	lastAway   time.Time
}

// remember enters rows that were just acknowledged. Spans of one stretch become one
// if they are neighbours: what lies far apart, like the newest samples and the
// backlog, has others in between that are settled long since.
func (s *replay) remember(now time.Time, rows []store.Row) {
	at := now.UnixMilli()
	s.Recent = slices.DeleteFunc(s.Recent, func(one status.Span) bool {
		age := time.Duration(at-one.AckedMs) * time.Millisecond
		return age > unsettled+stretch || -age > unsettled+stretch
	})
	current := len(s.Recent) // where the present stretch begins
	if n := len(s.Recent); n > 0 {
		if last := s.Recent[n-1].AckedMs; last <= at && at-last < stretch.Milliseconds() {
			at = last
			current = slices.IndexFunc(s.Recent, func(one status.Span) bool { return one.AckedMs == last })
		}
	}
	spans := slices.Clone(s.Recent[current:])
	var of [4]status.Span // by priority, as far as the rows are neighbours
	for _, r := range rows {
		one := &of[r.Priority&3]
		next := status.Span{AckedMs: at, Priority: r.Priority, FromMs: r.TimeMs, ToMs: r.TimeMs}
		switch {
		case one.AckedMs == 0:
			*one = next
		case r.TimeMs < one.FromMs-apart.Milliseconds() || r.TimeMs > one.ToMs+apart.Milliseconds():
			spans = append(spans, *one)
			*one = next
		default:
			one.FromMs, one.ToMs = min(one.FromMs, r.TimeMs), max(one.ToMs, r.TimeMs)
		}
	}
	for _, one := range of {
		if one.AckedMs != 0 {
			spans = append(spans, one)
		}
	}
	s.Recent = append(s.Recent[:current], atMost(union(spans, apart.Milliseconds()), maxSpans)...)
}

// begin goes on after a power cut, which may have been the server's as well: what
// was not settled goes again, once.
func (s *replay) begin() {
	s.sendAgain()
	s.consecutive, s.lastSign = ignoreAfter+1, time.Now()
}

// sendAgain makes all that is not settled go again.
func (s *replay) sendAgain() {
	s.Again = atMost(union(append(s.Again, s.Recent...), 0), maxAgain)
	s.Recent = nil
}

// restartSign counts a sign of a restart, after which what is not settled goes again.
func (s *replay) restartSign() {
	now := time.Now()
	s.sendAgain()
	s.signs++
	if now.Sub(s.lastSign) > config.Unsettled {
		s.consecutive = 0
	}
	s.consecutive++
	s.lastSign = now
}

// wasAway says whether a proxy could not reach the server, and forgets it. A
// server that is overloaded all the time answers alike, so that this is soon no
// news any more.
func (s *replay) wasAway(now time.Time) bool {
	if !s.away {
		return false
	}
	if now.Sub(s.lastAway) > config.Unsettled {
		s.proxyDowns = 0
	}
	s.away, s.lastAway = false, now
	s.proxyDowns++
	return s.proxyDowns <= ignoreAfter
}

// union sorts spans by priority and time and joins those of one priority that
// overlap or are no further apart than gap milliseconds.
func union(spans []status.Span, gap int64) []status.Span {
	slices.SortFunc(spans, func(a, b status.Span) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.FromMs, b.FromMs))
	})
	joined := spans[:0]
	for _, one := range spans {
		if n := len(joined); n > 0 && joined[n-1].Priority == one.Priority && one.FromMs-joined[n-1].ToMs <= gap {
			last := &joined[n-1]
			last.ToMs, last.AckedMs = max(last.ToMs, one.ToMs), max(last.AckedMs, one.AckedMs)
			continue
		}
		joined = append(joined, one)
	}
	return joined
}

// atMost joins the spans that are nearest to each other until there are no more
// than limit, which must not be less than the priorities are.
func atMost(spans []status.Span, limit int) []status.Span {
	for gap := apart.Milliseconds(); len(spans) > limit; gap *= 2 {
		spans = union(spans, gap)
	}
	return spans
}

// watchServer looks for signs that the server restarted since the last answer:
// nothing listened, a connection ended without a word before the request, or the
// answer names another host.
func (s *Shipper) watchServer(host string, ended bool) {
	cause := ""
	if s.client.link.refused.Swap(false) {
		cause = "nothing listened for a while"
	}
	if s.replay.wasAway(time.Now()) {
		cause = "a proxy did not reach the server for a while"
	}
	switch {
	case ended:
		s.replay.ended++
		if s.replay.ended <= ignoreAfter {
			cause = "the connection ended without a word"
		}
	case s.client.link.dials.Swap(0) == 0:
		s.replay.ended = 0
	}
	if host != "" && !slices.Contains(s.replay.Hosts, host) {
		if len(s.replay.Hosts) > 0 {
			cause = "another host answers"
		}
		s.replay.Hosts = append(s.replay.Hosts, host)
		s.replay.Hosts = s.replay.Hosts[max(0, len(s.replay.Hosts)-maxHosts):]
	}
	if cause == "" || len(s.replay.Recent) == 0 {
		return
	}
	s.replay.restartSign()
	s.log.Info("the server may have restarted; samples that it accepted in the minutes before are sent again", "cause", cause, "host", host)
}

// resend sends again what a restarted server may have lost. The rows stay as
// they are: delivered.
func (s *Shipper) resend(ctx context.Context, b *round) error {
	for len(s.replay.Again) > 0 {
		done, err := s.resendSpan(ctx, b)
		if err != nil {
			return err
		}
		if done {
			s.replay.Again = s.replay.Again[1:]
		}
	}
	return nil
}

// resendSpan sends the first of the spans. Done is false if the server went away
// again meanwhile, so that the spans are others now.
func (s *Shipper) resendSpan(ctx context.Context, b *round) (done bool, err error) {
	one := &s.replay.Again[0]
	at := store.CursorOf(one.Priority, one.FromMs)
	signs := s.replay.signs
	for {
		if s.chunks.rows, err = s.db.Delivered(ctx, s.chunks.rows[:0], &at, one.ToMs+1, s.chunkLimit()); err != nil {
			return false, err
		}
		if len(s.chunks.rows) == 0 {
			return true, nil
		}
		rest, err := s.enc.pack(&s.chunks.one, s.chunks.rows, s.pacing.budget.chunkBytes(), timeRule{})
		if err != nil {
			return false, err
		}
		if len(rest) > 0 {
			at.Rewind(s.chunks.rows[len(s.chunks.rows)-len(rest)-1])
		}
		if err := s.mayContinue(ctx, b); err != nil {
			return false, err
		}
		if len(s.chunks.one.rows) > 0 {
			r := s.start(ctx, b, &s.chunks.one)
			v := s.wait(ctx, b, r)
			if v.err != nil {
				return false, v.err
			}
			s.adjustChunk(r, v)
			b.resent += len(v.accepted)
			// A server that is killed again soon loses these again; one that flaps must
			// not get all since its first sign with each.
			if s.replay.consecutive <= ignoreAfter {
				s.replay.remember(time.Now(), v.accepted)
			}
			if v.refused != nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "the server rejects samples that it accepted before; they are not sent again",
					slog.Int("count", len(v.refused.rows)), slog.Int("http_status", v.refused.status), slog.String("server_words", v.refused.words))
			}
		}
		if s.replay.signs != signs {
			return false, nil
		}
		if n := len(s.chunks.rows) - len(rest); n > 0 {
			one.FromMs = s.chunks.rows[n-1].TimeMs
		}
	}
}
