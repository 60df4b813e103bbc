package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// schema2to3 moves the wide rows to series and samples. If two rows have the same
// series and time but different values, one of them is counted as lost.
func (db *DB) schema2to3(ctx context.Context, tx *sql.Tx) error {
	steps := []struct{ what, sql string }{
		{"rename the old tables", schema2Sides + `
			ALTER TABLE metrics RENAME TO old_metrics;
			ALTER TABLE sessions RENAME TO old_sessions;
			ALTER TABLE upload_checkpoints RENAME TO old_receipts;`},
		{"create the new tables", schema3},
		{"move sessions", `
			INSERT INTO sessions (id, start_time, end_time, status, metadata)
			SELECT id, start_time, end_time, status, metadata FROM old_sessions ORDER BY start_time, id;
			INSERT OR IGNORE INTO sessions (id, start_time, end_time, status)
			SELECT session_id, min(timestamp_ms), max(timestamp_ms), 'failed' FROM old_metrics
			WHERE session_id <> '' GROUP BY session_id;`},
	}
	for _, s := range steps {
		if _, err := tx.ExecContext(ctx, s.sql); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	if err := db.moveSeries(ctx, tx); err != nil {
		return fmt.Errorf("move series: %w", err)
	}
	if err := moveSamples(ctx, tx); err != nil {
		return fmt.Errorf("move samples: %w", err)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO upload_checkpoints (id, batch_id, chunk_index, last_uploaded_id,
			last_uploaded_timestamp, upload_time, metrics_count, first_uploaded_timestamp)
		SELECT r.id, r.batch_id, r.chunk_index, `+sqlKey+`,
			r.last_uploaded_timestamp, r.upload_time, r.metrics_count, NULL
		FROM old_receipts AS r
		LEFT JOIN old_metrics AS m ON m.id = r.last_uploaded_id
		LEFT JOIN old_series AS o ON `+sameSeries+`;
		DROP TABLE old_series; DROP TABLE old_metrics; DROP TABLE old_sessions; DROP TABLE old_receipts;`)
	if err != nil {
		return fmt.Errorf("move receipts: %w", err)
	}
	return nil
}

// sameSeries joins an old row m with its series o.
const sameSeries = `o.metric_name = m.metric_name AND o.device_id IS m.device_id
	AND o.tags IS m.tags AND o.value_type IS m.value_type`

// moveSeries stores the identities of the old rows, and creates a table old_series
// with the new id for each combination of the old columns.
func (db *DB) moveSeries(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `
		CREATE TABLE old_series AS SELECT DISTINCT metric_name, device_id, tags, value_type, 0 AS series_id FROM old_metrics;
		CREATE INDEX old_series_columns ON old_series (metric_name, device_id, tags, value_type);`)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT rowid, metric_name, device_id, tags, value_type FROM old_series")
	if err != nil {
		return err
	}
	defer rows.Close()
	type old struct {
		rowid int64
		it    identity
		kind  int
	}
	var found []old
	for rows.Next() {
		var o old
		var device, tags sql.NullString
		var kind sql.NullInt64
		if err := rows.Scan(&o.rowid, &o.it.name, &device, &tags, &kind); err != nil {
			return err
		}
		o.it.device, o.it.tags = device.String, canonicalTags(tags.String)
		if o.it.device == "" {
			o.it.device = db.opts.Device
		}
		if kind.Int64 == typeText {
			o.kind = typeText
		}
		found = append(found, o)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, o := range found {
		id, err := putSeries(ctx, tx, o.it, o.kind)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE old_series SET series_id = ? WHERE rowid = ?", id, o.rowid); err != nil {
			return err
		}
	}
	return nil
}

// canonicalTags converts tags of an earlier program to the form of metric.Tags. A
// text that is not a JSON object of tags becomes the value of one tag, so that
// nothing is lost.
func canonicalTags(text string) string {
	if text == "" {
		return ""
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return metric.Tags("unparsed_tags", text)
	}
	pairs := make([]string, 0, 2*len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !metric.TagName(key) {
			return metric.Tags("unparsed_tags", text)
		}
		value, isText := object[key].(string)
		if !isText {
			b, err := json.Marshal(object[key])
			if err != nil {
				return metric.Tags("unparsed_tags", text)
			}
			value = string(b)
		}
		pairs = append(pairs, key, value)
	}
	return metric.Tags(pairs...)
}

func moveSamples(ctx context.Context, tx *sql.Tx) error {
	// A text value is local; a row without a value cannot be sent and is rejected.
	_, err := tx.ExecContext(ctx, `
		INSERT INTO samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority)
		SELECT m.timestamp_ms, o.series_id, m.metric_value, m.value_text, sessions.num,
			CASE WHEN m.value_type = 1 THEN 4 WHEN m.uploaded = 1 THEN 1 WHEN m.metric_value IS NULL THEN 2 ELSE 0 END,
			min(max(coalesce(m.priority, 2), 0), 3)
		FROM old_metrics AS m
		JOIN old_series AS o ON `+sameSeries+`
		LEFT JOIN sessions ON sessions.id = m.session_id
		WHERE true ORDER BY m.timestamp_ms, o.series_id, m.uploaded DESC, m.id
		ON CONFLICT DO NOTHING;

		INSERT INTO rejected SELECT timestamp_ms, series_id, ?1, 0, 'no value', '' FROM samples WHERE uploaded = 2;

		UPDATE ledger SET count = (SELECT count(*) FROM samples) WHERE name = 'captured';
		UPDATE ledger SET count = (SELECT count(*) FROM samples WHERE uploaded = 1) WHERE name = 'delivered';
		UPDATE ledger SET count = (SELECT count(*) FROM samples WHERE uploaded = 2) WHERE name = 'rejected';
		UPDATE ledger SET count = (SELECT count(*) FROM samples WHERE uploaded = 4) WHERE name = 'local';`, time.Now().UnixMilli())
	if err != nil {
		return err
	}
	var lost int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM old_metrics AS m JOIN old_series AS o ON `+sameSeries+`
		JOIN samples AS s ON s.timestamp_ms = m.timestamp_ms AND s.series_id = o.series_id
		WHERE s.value IS NOT m.metric_value OR s.value_text IS NOT m.value_text`).Scan(&lost)
	if err != nil {
		return err
	}
	if err := addToLedger(ctx, tx, map[string]int{"captured": lost}); err != nil {
		return err
	}
	return addLoss(ctx, tx, status.LostSameTime, lost, time.Now())
}
