package store

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"

	"github.com/taniwha3/thugshells/shared/metric"
)

// maxEvents bounds the table of events; the oldest are deleted.
const maxEvents = 2000

// eventsTable creates the table of events if it is missing. It was added to schema
// 3; older programs do not use it.
//
//go:embed migrations/schema3_events.sql
var eventsTable string

// writeEvents stores the events of groups, with shiftMs added to their times. Held
// is the session in which the clock is not trusted; 0: it is trusted.
func writeEvents(ctx context.Context, tx *sql.Tx, groups []Group, held, shiftMs int64) error {
	n := 0
	for _, g := range groups {
		for _, e := range g.Events {
			e = e.Bounded()
			_, err := tx.ExecContext(ctx, "INSERT INTO events (time, source, event, reason, link, text, held) VALUES (?, ?, ?, ?, ?, ?, ?)",
				e.TimeMs+shiftMs, e.Source, e.Name, e.Reason, e.Link, e.Text, held)
			if err != nil {
				return fmt.Errorf("store an event: %w", err)
			}
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", maxEvents); err != nil {
		return fmt.Errorf("delete the oldest events: %w", err)
	}
	return nil
}

// releaseEvents gives the events of the clock's boot their right times, as release
// does for samples.
func releaseEvents(ctx context.Context, tx *sql.Tx, c Clock) error {
	_, err := tx.ExecContext(ctx, `UPDATE events SET held = 0,
			time = time + CASE WHEN abs(?1 - of.base) <= ?2 THEN 0 ELSE ?1 - of.base END
		FROM (SELECT num, metadata ->> '$.offset_ms' AS base FROM sessions
			WHERE json_valid(metadata) AND metadata ->> '$.boot_id' = ?3 AND metadata ->> '$.offset_ms' IS NOT NULL) AS of
		WHERE events.held <> 0 AND events.held = of.num`, c.offsetMs(), ClockStep.Milliseconds(), c.BootID)
	if err != nil {
		return fmt.Errorf("correct the times of events: %w", err)
	}
	return nil
}

// RecentEvents returns the newest events, the newest first, and how many there are.
// A database without the table has none.
func (r *Reader) RecentEvents(ctx context.Context, limit int) (events []metric.Event, total int, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		var tables int
		err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'events'").Scan(&tables)
		if err != nil || tables == 0 {
			return err
		}
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM events").Scan(&total); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT time, source, event, reason, link, text FROM events ORDER BY time DESC, id DESC LIMIT ?", limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e metric.Event
			if err := rows.Scan(&e.TimeMs, &e.Source, &e.Name, &e.Reason, &e.Link, &e.Text); err != nil {
				return err
			}
			events = append(events, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read events: %w", err)
	}
	return events, total, nil
}
