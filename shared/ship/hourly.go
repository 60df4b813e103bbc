package ship

import (
	"context"
	"log/slog"
	"time"
)

// sumsEvery is how often the sums of all rounds are logged. At level debug each round
// is logged.
const sumsEvery = time.Hour

// sums add up rounds for the log.
type sums struct {
	since                       time.Time // zero: no round was logged yet
	rounds, requests            int
	delivered, rejected, resent int
	sent, received              int64
}

// add counts a round and says whether the sums are due: after the first round of a
// run, which shows that samples arrive, and then once an hour.
func (s *sums) add(b *round, now time.Time) (due bool) {
	s.rounds++
	s.requests += b.requests
	s.delivered += b.delivered
	s.rejected += b.rejected
	s.resent += b.resent
	s.sent += b.sent
	s.received += b.received
	return s.since.IsZero() || now.Sub(s.since) >= sumsEvery
}

// flush logs the sums and sets them to 0.
func (s *sums) flush(ctx context.Context, log *slog.Logger, now time.Time) {
	attrs := []slog.Attr{
		slog.Int("rounds", s.rounds), slog.Int("requests", s.requests), slog.Int("count", s.delivered), slog.Int("rejected", s.rejected),
		slog.Int("resent", s.resent), slog.Int64("bytes_sent", s.sent), slog.Int64("bytes_rcvd", s.received),
	}
	if !s.since.IsZero() {
		attrs = append(attrs, slog.Int64("duration_ms", now.Sub(s.since).Milliseconds()))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "rounds done", attrs...)
	*s = sums{since: now}
}
