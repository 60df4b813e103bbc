package ship

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// stretch is the time of which the acknowledgements share one status.Span.
	stretch = 10 * time.Second
	// unsettled is how long before the server's last answer an acknowledged sample
	// may still be lost by it: VictoriaMetrics loses the last 10 s before a kill, and
	// it was not killed before it gave that answer.
	unsettled = 15 * time.Second
	// apart is the largest gap in time between samples of one status.Span.
	apart = 3 * time.Minute
	// maxSpans bounds the spans of one stretch, maxAgain all that are to be sent
	// again.
	maxSpans = 8
	maxAgain = 64
)

// replay remembers which samples were acknowledged lately, and which have to be
// sent again because the server may have lost them. Its first part is in the
// status row, so that it outlives the process.
type replay struct {
	status.Settling

	extended int // how often sendAgain was called: Again has other spans since
	restarts restarts
}

// remember adds rows that were just acknowledged. Neighbouring spans of one stretch
// become one. Rows that lie far apart, such as the newest samples and the backlog,
// keep spans of their own, because the samples between them were settled long ago.
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

// sendAgain puts all samples that are not settled among those to be sent again.
func (s *replay) sendAgain() {
	s.extended++
	s.Again = atMost(union(append(s.Again, s.Recent...), 0), maxAgain)
	s.Recent = nil
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

// resend sends the samples again that a restarted server may have lost, or leaves
// them for a later round. Their rows stay as they are: delivered.
func (s *Shipper) resend(ctx context.Context, b *round) error {
	for len(s.replay.Again) > 0 && s.replay.restarts.calm(time.Now()) {
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

// resendSpan sends the samples of the first span. Done is false if the server seems
// to have restarted again meanwhile, so that the spans are other ones now.
func (s *Shipper) resendSpan(ctx context.Context, b *round) (done bool, err error) {
	one := &s.replay.Again[0]
	at := store.CursorOf(one.Priority, one.FromMs)
	extended := s.replay.extended
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
			// A server that is killed again soon loses these samples again.
			s.replay.remember(time.Now(), v.accepted)
			if v.refused != nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "the server rejects samples that it accepted before; they are not sent again",
					slog.Int("count", len(v.refused.rows)), slog.Int("http_status", v.refused.status),
					slog.String("server_words", v.refused.words))
			}
		}
		if s.replay.extended != extended {
			return false, nil
		}
		if n := len(s.chunks.rows) - len(rest); n > 0 {
			one.FromMs = s.chunks.rows[n-1].TimeMs
		}
	}
}
