package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

func writeStatus(ctx context.Context, tx *sql.Tx, all []status.Row) error {
	const insert = "INSERT OR REPLACE INTO status VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	for _, s := range all {
		if s.Detail == "" {
			s.Detail = "{}"
		}
		_, err := tx.ExecContext(ctx, insert,
			s.Component, s.Daemon, s.State, s.PID, s.Version, s.BootID, s.StartedMs, s.IntervalMs, s.HeartbeatMs, s.HeartbeatBootMs,
			s.SuccessMs, s.SuccessBootMs, s.Error, s.ErrorMs, s.FailingSinceMs, s.Succeeded, s.Failed, s.Detail)
		if err != nil {
			return fmt.Errorf("write the status of %s: %w", s.Component, err)
		}
	}
	return nil
}

// statuses returns every component's status, in order of name.
func statuses(ctx context.Context, tx *sql.Tx) ([]status.Row, error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM status ORDER BY component")
	if err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	defer rows.Close()
	var all []status.Row
	for rows.Next() {
		s, err := scanStatus(rows)
		if err != nil {
			return nil, fmt.Errorf("read the status: %w", err)
		}
		all = append(all, s)
	}
	status.RestoreReadings(all)
	return all, rows.Err()
}

func scanStatus(row interface{ Scan(into ...any) error }) (s status.Row, err error) {
	err = row.Scan(&s.Component, &s.Daemon, &s.State, &s.PID, &s.Version, &s.BootID, &s.StartedMs, &s.IntervalMs,
		&s.HeartbeatMs, &s.HeartbeatBootMs,
		&s.SuccessMs, &s.SuccessBootMs, &s.Error, &s.ErrorMs, &s.FailingSinceMs, &s.Succeeded, &s.Failed, &s.Detail)
	return s, err
}

// StatusOf returns the status of one component as it is stored; ok is false if it
// has none. Rounds ask for the one row that they need, not for the whole table.
func (r *Reader) StatusOf(ctx context.Context, component string) (s status.Row, ok bool, err error) {
	s, err = scanStatus(r.read.QueryRowContext(ctx, "SELECT * FROM status WHERE component = ?", component))
	if errors.Is(err, sql.ErrNoRows) {
		return status.Row{SuccessBootMs: -1}, false, nil
	}
	if err = r.guard.observe(err); err != nil {
		return status.Row{SuccessBootMs: -1}, false, fmt.Errorf("read the status of %s: %w", component, err)
	}
	return s, true, nil
}

// Statuses returns every component's status, in order of name.
func (r *Reader) Statuses(ctx context.Context) (all []status.Row, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		all, err = statuses(ctx, tx)
		return err
	})
	return all, err
}

// RecordEnd writes into the database at path that a daemon ended because of err. It
// does not create a database.
func RecordEnd(ctx context.Context, path string, c *status.Component, failure error) error {
	now, err := Now()
	if err != nil {
		return err
	}
	return recordEnd(ctx, path, c, now, failure)
}

func recordEnd(ctx context.Context, path string, c *status.Component, now status.Moment, failure error) error {
	if info, err := os.Lstat(path); err != nil || info.Size() == 0 {
		return err
	}
	db, err := Open(ctx, path, Options{Synchronous: "NORMAL"})
	if err != nil {
		return err
	}
	old, _, err := db.StatusOf(ctx, c.Row().Component)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	c.End(now, failure, old)
	_, err = db.Record(ctx, Update{Status: []status.Row{c.Row()}})
	return errors.Join(err, db.Close())
}

// DropStatus deletes the status rows of components that a daemon no longer has.
func (db *DB) DropStatus(ctx context.Context, daemon string, keep []string) error {
	names, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM status WHERE daemon = ? AND component NOT IN (SELECT value FROM json_each(?))",
			daemon, string(names))
		if err != nil {
			return fmt.Errorf("drop old status rows of %s: %w", daemon, err)
		}
		return nil
	})
}

func writeCounters(ctx context.Context, tx *sql.Tx, counters []metric.Count) error {
	const upsert = `INSERT INTO counters (name, tags, value) VALUES (?1, ?2, ?3)
		ON CONFLICT (name, tags) DO UPDATE SET value = ?3 WHERE value <> ?3`
	for _, c := range counters {
		if _, err := tx.ExecContext(ctx, upsert, c.Name, c.Tags, c.Value); err != nil {
			return fmt.Errorf("write counter %s%s: %w", c.Name, c.Tags, err)
		}
	}
	return nil
}

// Counters returns the stored counters, in order of name and tags.
func (r *Reader) Counters(ctx context.Context) (counters []metric.Count, err error) {
	defer func() { err = r.guard.observe(err) }()
	rows, err := r.read.QueryContext(ctx, "SELECT name, tags, value FROM counters ORDER BY name, tags")
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c metric.Count
		if err := rows.Scan(&c.Name, &c.Tags, &c.Value); err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		counters = append(counters, c)
	}
	return counters, rows.Err()
}
