package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A Row is a stored sample on its way to the server.
type Row struct {
	TimeMs   int64
	Value    float64
	Priority int
	Series   *Series
}

// ID is the row's metrics.id.
func (r Row) ID() int64 { return r.TimeMs<<20 | r.Series.ID }

// Newest returns up to limit pending rows, the newest first.
func (r *Reader) Newest(ctx context.Context, limit int) ([]Row, error) {
	// One walk down the pending index for each priority, then the newest of all.
	const one = `SELECT * FROM (SELECT timestamp_ms, series_id, value, priority FROM samples
		WHERE uploaded = 0 AND priority = %d ORDER BY timestamp_ms DESC, series_id DESC LIMIT ?1)`
	query := fmt.Sprintf(one, 0)
	for p := 1; p <= 3; p++ {
		query += " UNION ALL " + fmt.Sprintf(one, p)
	}
	return r.rows(ctx, limit, query+" ORDER BY timestamp_ms DESC, series_id DESC LIMIT ?1", limit)
}

func (r *Reader) rows(ctx context.Context, sizeHint int, query string, args ...any) ([]Row, error) {
	rows, err := r.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read pending samples: %w", err)
	}
	defer rows.Close()
	found := make([]Row, 0, min(sizeHint, 10000))
	var strangers []int // rows whose series this process has not seen yet
	var ids []int64
	for rows.Next() {
		var row Row
		var id int64
		if err := rows.Scan(&row.TimeMs, &id, &row.Value, &row.Priority); err != nil {
			return nil, fmt.Errorf("read pending samples: %w", err)
		}
		if row.Series = r.series.get(id); row.Series == nil {
			strangers, ids = append(strangers, len(found)), append(ids, id)
		}
		found = append(found, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read pending samples: %w", err)
	}
	for i, at := range strangers {
		if found[at].Series, err = r.lookUpSeries(ctx, ids[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// A Receipt says that the server took one chunk.
type Receipt struct {
	BatchID    string // UUID of the round
	ChunkIndex int    // 0-based within the round
	At         time.Time
}

// Acknowledge marks the rows as delivered and writes the receipt and the update
// in the same transaction. Rows that are no longer pending stay as they are. It
// returns how many rows it marked.
func (db *DB) Acknowledge(ctx context.Context, rows []Row, receipt Receipt, u Update) (marked int, err error) {
	var fresh []*Series
	err = db.tx(ctx, func(tx *sql.Tx) error {
		if marked, err = mark(ctx, tx, rows, Pending, Delivered); err != nil {
			return err
		}
		if err := addToLedger(ctx, tx, map[string]int{"delivered": marked}); err != nil {
			return err
		}
		if len(rows) > 0 {
			newest := rows[0]
			for _, r := range rows {
				if r.ID() > newest.ID() {
					newest = r
				}
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO upload_checkpoints
				(batch_id, chunk_index, last_uploaded_id, last_uploaded_timestamp, upload_time, metrics_count)
				VALUES (?, ?, ?, ?, ?, ?)`, receipt.BatchID, receipt.ChunkIndex, newest.ID(), newest.TimeMs, receipt.At.UnixMilli(), len(rows))
			if err != nil {
				return fmt.Errorf("write the receipt: %w", err)
			}
		}
		_, fresh, err = db.put(ctx, tx, u)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("acknowledge %d samples: %w", len(rows), err)
	}
	for _, s := range fresh {
		db.series.add(s)
	}
	return marked, nil
}

// mark moves rows from one state to another and returns how many were in the
// first.
func mark(ctx context.Context, tx *sql.Tx, rows []Row, from, to State) (marked int, err error) {
	stmt, err := tx.PrepareContext(ctx, "UPDATE samples SET uploaded = ? WHERE timestamp_ms = ? AND series_id = ? AND uploaded = ?")
	if err != nil {
		return 0, fmt.Errorf("prepare the mark: %w", err)
	}
	defer stmt.Close()
	for _, r := range rows {
		res, err := stmt.ExecContext(ctx, to, r.TimeMs, r.Series.ID, from)
		if err != nil {
			return 0, fmt.Errorf("mark a sample of %s: %w", r.Series.Name, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		marked += int(n)
	}
	return marked, nil
}

// A Rejection is why a row is set aside.
type Rejection struct {
	Row
	Reason     string // what we made of it
	HTTPStatus int    // 0: refused here, before sending
	Words      string // the server's
}

// maxWords bounds what is kept of a server's words, in bytes.
const maxWords = 1000

// Reject sets pending rows aside with the reason; they are kept and not sent
// again. It returns how many were pending.
func (db *DB) Reject(ctx context.Context, rejections []Rejection, at time.Time, u Update) (rejected int, err error) {
	var fresh []*Series
	err = db.tx(ctx, func(tx *sql.Tx) error {
		for _, r := range rejections {
			n, err := mark(ctx, tx, []Row{r.Row}, Pending, Rejected)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			rejected++
			_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO rejected (timestamp_ms, series_id, rejected_ms, http_status, reason, server_words)
				VALUES (?, ?, ?, ?, ?, ?)`, r.TimeMs, r.Series.ID, at.UnixMilli(), r.HTTPStatus, r.Reason, r.Words[:min(len(r.Words), maxWords)])
			if err != nil {
				return fmt.Errorf("note why: %w", err)
			}
		}
		if err := addToLedger(ctx, tx, map[string]int{"rejected": rejected}); err != nil {
			return err
		}
		_, fresh, err = db.put(ctx, tx, u)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("set %d samples aside: %w", len(rejections), err)
	}
	for _, s := range fresh {
		db.series.add(s)
	}
	return rejected, nil
}
