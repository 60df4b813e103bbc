package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A Row is a stored sample, as it is sent.
type Row struct {
	TimeMs   int64
	Value    float64
	Priority int
	Series   *Series
}

// ID is the key of the row.
func (r Row) ID() int64 { return Key(r.TimeMs, r.Series.ID) }

// A Receipt says that the server accepted one chunk.
type Receipt struct {
	BatchID    string // UUID of the round
	ChunkIndex int    // 0-based within the round
	At         time.Time
}

// Acknowledge marks the rows as delivered and writes the receipt and the update
// in the same transaction. Rows that are no longer pending stay as they are. It
// returns how many rows it marked.
func (db *DB) Acknowledge(ctx context.Context, rows []Row, receipt Receipt, u Update) (marked int, err error) {
	err = db.seriesTx(ctx, func(tx *sql.Tx) (fresh []*Series, err error) {
		if marked, err = markDelivered(ctx, tx, rows); err != nil {
			return nil, err
		}
		if err := addToLedger(ctx, tx, map[string]int{"delivered": marked}); err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			byTime := func(a, b Row) int { return cmp.Compare(a.ID(), b.ID()) }
			oldest, newest := slices.MinFunc(rows, byTime), slices.MaxFunc(rows, byTime)
			_, err := tx.ExecContext(ctx, `INSERT INTO upload_checkpoints
				(batch_id, chunk_index, last_uploaded_id, last_uploaded_timestamp, upload_time, metrics_count, first_uploaded_timestamp)
				VALUES (?, ?, ?, ?, ?, ?, ?)`, receipt.BatchID, receipt.ChunkIndex, newest.ID(), newest.TimeMs,
				receipt.At.UnixMilli(), len(rows), oldest.TimeMs)
			if err != nil {
				return nil, fmt.Errorf("write the receipt: %w", err)
			}
		}
		_, fresh, err = db.writeUpdate(ctx, tx, u)
		return fresh, err
	})
	if err != nil {
		return 0, fmt.Errorf("acknowledge %d samples: %w", len(rows), err)
	}
	return marked, nil
}

// markDelivered marks pending rows as delivered and returns how many were pending.
func markDelivered(ctx context.Context, tx *sql.Tx, rows []Row) (marked int, err error) {
	for p := 0; p <= LowestPriority; p++ {
		if !slices.ContainsFunc(rows, func(r Row) bool { return r.Priority == p }) {
			continue
		}
		of := rows
		if others := func(r Row) bool { return r.Priority != p }; slices.ContainsFunc(rows, others) {
			of = slices.DeleteFunc(slices.Clone(rows), others)
		}
		n, whole, err := markRange(ctx, tx, of)
		if err == nil && !whole {
			n, err = setState(ctx, tx, of, Pending, Delivered)
		}
		if err != nil {
			return 0, err
		}
		marked += n
	}
	return marked, nil
}

// fewRows is the number of rows below which marking each takes less time.
const fewRows = 8

// markRange marks rows of one priority with a single statement, in a third of the
// time that one statement for each row takes. It does so only if no other row is
// pending between the first and the last of them. Rows may have been stored,
// deleted or released since they were read, so their keys are read again in this
// transaction and compared as text. If they differ, nothing is marked and whole is
// false.
func markRange(ctx context.Context, tx *sql.Tx, rows []Row) (marked int, whole bool, err error) {
	if len(rows) < fewRows {
		return 0, false, nil
	}
	first, last := rows[0], rows[len(rows)-1]
	step := 1
	if first.ID() > last.ID() {
		first, last, step = last, first, -1
	}
	want := make([]byte, 0, len(rows)*20)
	for i := range rows {
		r := rows[i]
		if step < 0 {
			r = rows[len(rows)-1-i]
		}
		if i > 0 {
			want = append(want, ',')
		}
		want = strconv.AppendInt(want, r.ID(), 10)
	}
	const between = ` FROM samples INDEXED BY samples_pending WHERE uploaded = 0 AND priority = ?
		AND (timestamp_ms, series_id) >= (?, ?) AND (timestamp_ms, series_id) <= (?, ?)`
	args := []any{first.Priority, first.TimeMs, first.Series.ID, last.TimeMs, last.Series.ID}
	var got []byte
	keys := "SELECT group_concat(id) FROM (SELECT " + sqlKey + " AS id" + between + " ORDER BY timestamp_ms, series_id)"
	err = tx.QueryRowContext(ctx, keys, args...).Scan(&got)
	if err != nil {
		return 0, false, fmt.Errorf("read the keys of a range of samples: %w", err)
	}
	if !bytes.Equal(want, got) {
		return 0, false, nil
	}
	res, err := tx.ExecContext(ctx, `UPDATE samples INDEXED BY samples_pending SET uploaded = 1 WHERE uploaded = 0 AND priority = ?
		AND (timestamp_ms, series_id) >= (?, ?) AND (timestamp_ms, series_id) <= (?, ?)`, args...)
	if err != nil {
		return 0, false, fmt.Errorf("mark a range of samples: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, false, err
	}
	if int(n) != len(rows) {
		return 0, false, fmt.Errorf("%d of %d samples were marked; the transaction is undone", n, len(rows))
	}
	return len(rows), true, nil
}

// setState changes the state of rows and returns how many were in the state from.
func setState(ctx context.Context, tx *sql.Tx, rows []Row, from, to State) (marked int, err error) {
	stmt, err := tx.PrepareContext(ctx, "UPDATE samples SET uploaded = ? WHERE timestamp_ms = ? AND series_id = ? AND uploaded = ?")
	if err != nil {
		return 0, fmt.Errorf("prepare marking samples: %w", err)
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
