package ship

import (
	"context"
	"fmt"

	"github.com/taniwha3/thugshells/shared/store"
)

// acknowledge marks rows as delivered, with the receipt, the counts and the status in
// the same transaction. It cannot be cancelled: rows that the server accepted and that
// are not marked would be sent twice.
func (s *Shipper) acknowledge(ctx context.Context, b *round, rows []store.Row, index int) error {
	if len(rows) == 0 {
		return nil
	}
	now, err := store.Now()
	if err != nil {
		return err
	}
	// The counts are written in the same transaction, before it is known how many rows
	// were still pending. Rows that were counted and not marked are subtracted from the
	// next count, so that a counter never goes back.
	count := max(len(rows)-s.report.overcounted, 0)
	before := *s.report.component
	s.report.self.Tally.Add(uploaded, float64(count))
	s.report.component.Succeed(now, count)
	s.search.lastAccepted = rows[0]
	s.replay.remember(now.Wall, rows)
	u := s.update(now)
	receipt := store.Receipt{BatchID: b.id, ChunkIndex: index, At: now.Wall}
	marked, err := s.db.Acknowledge(context.WithoutCancel(ctx), rows, receipt, u)
	if err != nil {
		s.report.self.Tally.Add(uploaded, -float64(count)) // because it was not written
		*s.report.component = before
		return fmt.Errorf("%w; the server has these samples, but they could not be marked as delivered and will be sent again", err)
	}
	s.report.self.wrote(u.Counters)
	s.report.overcounted += count - marked
	b.delivered += marked
	return nil
}

// reject marks rows as rejected, which are not sent any more.
func (s *Shipper) reject(ctx context.Context, b *round, bad []store.Rejection) error {
	if len(bad) == 0 {
		return nil
	}
	now, err := store.Now()
	if err != nil {
		return err
	}
	s.report.self.Tally.Add(rejected, float64(len(bad)))
	s.report.component.Beat(now)
	u := s.update(now)
	n, err := s.db.Reject(context.WithoutCancel(ctx), bad, now.Wall, u)
	if err != nil {
		s.report.self.Tally.Add(rejected, -float64(len(bad))) // because it was not written
		return err
	}
	s.report.self.wrote(u.Counters)
	b.rejected += n
	one := bad[0]
	s.log.Warn("samples rejected; metrics-shipper -rejected lists them", "count", n, "http_status", one.HTTPStatus,
		"reason", one.Reason,
		"server_words", one.Words, "name", one.Series.Name, "tags", one.Series.Tags, "timestamp_ms", one.TimeMs)
	return nil
}
