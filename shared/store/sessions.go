package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// A Run is one session as it is stored.
type Run struct {
	ID       string
	StartMs  int64
	EndMs    int64 // 0: unknown
	State    string
	Metadata string // JSON
}

// Sessions returns the newest sessions, and how many there are.
func (r *Reader) Sessions(ctx context.Context, limit int) (runs []Run, total int, err error) {
	if err := r.read.QueryRowContext(ctx, "SELECT count(*) FROM sessions").Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count sessions: %w", err)
	}
	rows, err := r.read.QueryContext(ctx, `SELECT id, start_time, coalesce(end_time, 0), coalesce(status, ''), coalesce(metadata, '')
		FROM sessions ORDER BY num DESC LIMIT ?`, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("read sessions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Run
		if err := rows.Scan(&s.ID, &s.StartMs, &s.EndMs, &s.State, &s.Metadata); err != nil {
			return nil, 0, fmt.Errorf("read sessions: %w", err)
		}
		runs = append(runs, s)
	}
	return runs, total, rows.Err()
}

// A Session is one run of the collector.
type Session struct {
	ID       string
	Start    time.Time
	Metadata map[string]string
}

// StartSession begins a session: held samples that are recorded from now on belong
// to it. Sessions that did not end are marked as failed. While the database is
// detached, Attach begins the session.
func (db *DB) StartSession(ctx context.Context, s Session) error {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	db.begun = &s
	if db.guard.check() != nil {
		return nil //nolint:nilerr // Attach begins it
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

// HasSession says whether the open file has a session with this id.
func (db *DB) HasSession(ctx context.Context, id string) (found bool, err error) {
	err = db.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?)", id).Scan(&found)
	return found, err
}

// SessionID is the id of the session that StartSession began; "": none.
func (db *DB) SessionID() string {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	if db.begun == nil {
		return ""
	}
	return db.begun.ID
}

// resume continues a session, or begins it in a file that does not have it.
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

// EndSession marks the session that StartSession began as completed and writes the
// last status rows.
func (db *DB) EndSession(ctx context.Context, at time.Time, last []status.Row) error {
	err := db.tx(ctx, func(tx *sql.Tx) error {
		const end = "UPDATE sessions SET status = 'completed', end_time = ? WHERE num = ?"
		if _, err := tx.ExecContext(ctx, end, at.UnixMilli(), db.session); err != nil {
			return err
		}
		return writeStatus(ctx, tx, last)
	})
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}
