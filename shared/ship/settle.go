package ship

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// unsettled is how far back a restarted server is sent again what it
	// acknowledged: VictoriaMetrics writes to disk some seconds after its 204,
	// and a kill takes up to ten seconds of that.
	unsettled = 2 * time.Minute
	// stretch is how much of the time one span takes in.
	stretch = 10 * time.Second
	// maxHosts bounds the names of servers that are remembered.
	maxHosts = 16
	// habit is how often in a row a server ends connections without a word
	// until that is no news any more.
	habit = 3
)

// A span is samples that were acknowledged in one stretch of time, by their own
// times.
type span struct {
	AckedMs  int64 `json:"acked_ms"`
	Priority int   `json:"priority"`
	FromMs   int64 `json:"from_ms"`
	ToMs     int64 `json:"to_ms"`
}

// settling remembers what was acknowledged lately, and what has to be sent again
// because the server lost it. It is part of the status row, so that it outlives
// the process.
type settling struct {
	Recent []span   `json:"recent,omitempty"`
	Again  []span   `json:"again,omitempty"`
	Hosts  []string `json:"hosts,omitempty"` // that answered

	ended int // connections in a row that ended without a word
}

// note enters rows that were just acknowledged.
func (s *settling) note(now time.Time, rows []store.Row) {
	at := now.UnixMilli()
	s.Recent = slices.DeleteFunc(s.Recent, func(one span) bool {
		return at-one.AckedMs > unsettled.Milliseconds() || one.AckedMs > at+unsettled.Milliseconds()
	})
	var of [4]span // by priority
	for _, r := range rows {
		one := &of[r.Priority&3]
		if one.AckedMs == 0 {
			*one = span{AckedMs: at, Priority: r.Priority, FromMs: r.TimeMs, ToMs: r.TimeMs}
		}
		one.FromMs, one.ToMs = min(one.FromMs, r.TimeMs), max(one.ToMs, r.TimeMs)
	}
	for _, one := range of {
		if one.AckedMs == 0 {
			continue
		}
		i := slices.IndexFunc(s.Recent, func(old span) bool {
			return old.Priority == one.Priority && at-old.AckedMs < stretch.Milliseconds()
		})
		if i < 0 {
			s.Recent = append(s.Recent, one)
			continue
		}
		old := &s.Recent[i]
		old.FromMs, old.ToMs = min(old.FromMs, one.FromMs), max(old.ToMs, one.ToMs)
	}
}

// watchServer looks for signs that the server restarted since the last answer:
// nothing listened, a connection ended without a word, or the answer names
// another host.
func (s *Shipper) watchServer(host string) {
	cause := ""
	if s.client.link.refused.Swap(false) {
		cause = "nothing listened for a while"
	}
	switch ended := s.client.link.ended.Swap(false); {
	case ended:
		s.detail.Settling.ended++
		if s.detail.Settling.ended <= habit {
			cause = "the connection ended without a word"
		}
	case s.client.link.dials.Swap(0) == 0:
		s.detail.Settling.ended = 0
	}
	host = words([]byte(host), maxWords)
	if host != "" && !slices.Contains(s.detail.Settling.Hosts, host) {
		if len(s.detail.Settling.Hosts) > 0 {
			cause = "another host answers"
		}
		s.detail.Settling.Hosts = append(s.detail.Settling.Hosts, host)
		s.detail.Settling.Hosts = s.detail.Settling.Hosts[max(0, len(s.detail.Settling.Hosts)-maxHosts):]
	}
	if cause == "" || len(s.detail.Settling.Recent) == 0 {
		return
	}
	s.detail.Settling.Again = append(s.detail.Settling.Again, s.detail.Settling.Recent...)
	s.detail.Settling.Recent = nil
	s.log.Info("the server may have restarted; what it acknowledged in the minutes before is sent again", "cause", cause, "host", host)
}

// resend sends again what a restarted server may have lost. The rows stay as
// they are: delivered.
func (s *Shipper) resend(ctx context.Context, b *batch) error {
	for len(s.detail.Settling.Again) > 0 {
		one := &s.detail.Settling.Again[0]
		at := store.From(one.FromMs)
		for {
			var err error
			if s.rows, err = s.db.Delivered(ctx, s.rows[:0], &at, one.ToMs+1, s.limit); err != nil {
				return err
			}
			if len(s.rows) == 0 {
				break
			}
			rest, err := s.enc.pack(&s.one, s.rows, s.budget.chunkBytes(), s.serverMs())
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				at.Back(s.rows[len(s.rows)-len(rest)-1])
			}
			if err := s.mayGoOn(ctx, b); err != nil {
				return err
			}
			from := one.FromMs
			if n := len(s.rows) - len(rest); n > 0 {
				from = s.rows[n-1].TimeMs
			}
			if len(s.one.rows) > 0 {
				v := s.land(ctx, b, s.start(ctx, b, &s.one))
				if v.err != nil {
					return v.err
				}
				s.grow(v.outcome)
				b.resent += len(v.taken)
				s.detail.Settling.note(time.Now(), v.taken)
				if v.refused != nil {
					s.log.LogAttrs(ctx, slog.LevelWarn, "server refuses samples that it took before; not sent again",
						slog.Int("count", len(v.refused.rows)), slog.Int("http_status", v.refused.status), slog.String("server_words", v.refused.words))
				}
			}
			one.FromMs = from
		}
		s.detail.Settling.Again = s.detail.Settling.Again[1:]
	}
	return nil
}
