package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

func putStatus(ctx context.Context, tx *sql.Tx, all []status.Row) error {
	if len(all) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO status VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return fmt.Errorf("prepare the status: %w", err)
	}
	defer stmt.Close()
	for _, s := range all {
		if s.Detail == "" {
			s.Detail = "{}"
		}
		_, err := stmt.ExecContext(ctx,
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
		var s status.Row
		err := rows.Scan(&s.Component, &s.Daemon, &s.State, &s.PID, &s.Version, &s.BootID, &s.StartedMs, &s.IntervalMs, &s.HeartbeatMs, &s.HeartbeatBootMs,
			&s.SuccessMs, &s.SuccessBootMs, &s.Error, &s.ErrorMs, &s.FailingSinceMs, &s.Succeeded, &s.Failed, &s.Detail)
		if err != nil {
			return nil, fmt.Errorf("read the status: %w", err)
		}
		all = append(all, s)
	}
	status.RestoreReadings(all)
	return all, rows.Err()
}

// Statuses returns every component's status, in order of name.
func (r *Reader) Statuses(ctx context.Context) (all []status.Row, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		all, err = statuses(ctx, tx)
		return err
	})
	return all, err
}

// RecordEnd writes into the database at path that a daemon ended because of err.
// A database that is not there is not made.
func RecordEnd(ctx context.Context, path string, c *status.Component, now status.Moment, failure error) error {
	if info, err := os.Lstat(path); err != nil || info.Size() == 0 {
		return err
	}
	db, err := Open(ctx, path, Options{Synchronous: "NORMAL"})
	if err != nil {
		return err
	}
	rows, err := db.Statuses(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	var old status.Row
	for _, r := range rows {
		if r.Component == c.Row().Component {
			old = r
		}
	}
	c.End(now, failure, old)
	_, err = db.Record(ctx, Update{Status: []status.Row{c.Row()}})
	return errors.Join(err, db.Close())
}

// DropStatus removes the status of components a daemon no longer has.
func (db *DB) DropStatus(ctx context.Context, daemon string, keep []string) error {
	names, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM status WHERE daemon = ? AND component NOT IN (SELECT value FROM json_each(?))", daemon, string(names))
		if err != nil {
			return fmt.Errorf("drop old status rows of %s: %w", daemon, err)
		}
		return nil
	})
}

// A Session is one run of the collector.
type Session struct {
	ID       string
	Start    time.Time
	Metadata map[string]string
}

// StartSession begins a session; samples recorded from now on belong to it.
// Sessions found open ended without a word: they are marked failed. While the
// database is detached, the session is begun by Attach.
func (db *DB) StartSession(ctx context.Context, s Session) error {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	db.begun = &s
	if db.guard.check() != nil {
		return nil //nolint:nilerr // the process that attaches it says what it is
	}
	num, err := db.resume(ctx, s)
	if err != nil {
		return err
	}
	db.swap.Lock()
	defer db.swap.Unlock()
	db.session = num
	return nil
}

// HasSession says whether the file that db has open has a session with this id.
func (db *DB) HasSession(ctx context.Context, id string) (found bool, err error) {
	err = db.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?)", id).Scan(&found)
	return found, err
}

// SessionID is the id of the session that StartSession began, "" for none.
func (db *DB) SessionID() string {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	if db.begun == nil {
		return ""
	}
	return db.begun.ID
}

// resume goes on with a session, or begins it in a file that does not have it.
func (db *DB) resume(ctx context.Context, s Session) (num int64, err error) {
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	metadata, err := json.Marshal(s.Metadata)
	if err != nil {
		return 0, fmt.Errorf("start session: %w", err)
	}
	err = db.tx(ctx, func(tx *sql.Tx) error {
		if err := db.unuseSeries(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE sessions SET status = 'failed' WHERE status = 'active' AND id <> ?", s.ID); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `INSERT INTO sessions (id, start_time, status, metadata) VALUES (?, ?, 'active', ?)
			ON CONFLICT (id) DO UPDATE SET status = 'active' RETURNING num`, s.ID, s.Start.UnixMilli(), string(metadata)).Scan(&num)
	})
	if err != nil {
		return 0, fmt.Errorf("start session: %w", err)
	}
	return num, nil
}

// EndSession ends the session that StartSession began, as completed, and writes
// the last status rows with it.
func (db *DB) EndSession(ctx context.Context, at time.Time, last []status.Row) error {
	err := db.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE sessions SET status = 'completed', end_time = ? WHERE num = ?", at.UnixMilli(), db.session); err != nil {
			return err
		}
		return putStatus(ctx, tx, last)
	})
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}
