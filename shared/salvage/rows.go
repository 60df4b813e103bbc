package salvage

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A column is a column of a table, with the values that it can have.
type column struct {
	name  string
	kinds kind
	least int64 // of an integer
	most  int64 // of an integer; 0: no bound
	rowid bool  // the row number, which is not in the record
}

// A table is one of our tables. A record fits it by the number of its columns,
// their types and their values.
type table struct {
	name    string
	schema  int  // to which the table belongs
	rows    bool // it has row numbers: its pages are of another kind
	columns []column
	fits    func(*record) bool // more about the values; nil: nothing
	insert  string             // the SQL that writes a row; see table.statement
}

// Which of two rows with the same key is kept. Pages are read in the order of their
// numbers, and after them the frames behind the damage of the WAL.
const (
	lastWins  = "INSERT OR REPLACE INTO main.%s (%s) VALUES (%s)"
	firstWins = "INSERT OR IGNORE INTO main.%s (%s) VALUES (%s)"
)

func number(name string) column { return column{name: name, kinds: whole} }
func count(name string) column  { return column{name: name, kinds: whole, most: math.MaxInt64} }
func words(name string) column  { return column{name: name, kinds: text} }

func within(name string, least, most int64) column {
	return column{name: name, kinds: whole, least: least, most: most}
}

func maybe(c column) column {
	c.kinds |= null
	return c
}

func rowNumber(name string) column { return column{name: name, kinds: null, rowid: true} }

// samplesTable is the only large table; see samples.go.
var samplesTable = &table{name: "samples", schema: 3, columns: []column{
	within("timestamp_ms", 0, store.MaxTimeMs), within("series_id", 1, store.MaxSeries),
	{name: "value", kinds: whole | float | null},
	maybe(words("value_text")),
	maybe(number("session")), within("uploaded", 0, int64(store.Local)), within("priority", 0, 3),
}, fits: func(r *record) bool {
	v, state := r.values[2], store.State(r.values[5].n)
	switch v.kind {
	case null:
		return state == store.Rejected || state == store.Local
	case float:
		return !math.IsNaN(v.f) && !math.IsInf(v.f, 0)
	}
	return true
}}

// tables are the tables that are copied. A test compares them with those that the
// store creates: each of those has to be here, with its columns in the same order,
// or in passedOver.
var tables = []*table{
	samplesTable,
	{name: "series", schema: 3, rows: true, insert: firstWins, columns: []column{
		rowNumber("id"), words("series_key"), words("metric_name"), words("device_id"), words("tags"), within("value_type", 0, 1),
	}, fits: func(r *record) bool { return store.SeriesKey(seriesIn(r, 0)) == string(r.values[1].b) }},
	{name: "sessions", schema: 3, rows: true, insert: lastWins, columns: []column{
		rowNumber("num"), words("id"), number("start_time"), maybe(number("end_time")), maybe(words("status")), maybe(words("metadata")),
	}, fits: func(r *record) bool {
		return r.values[4].kind == null || oneOf(r.values[4], "active", "completed", "failed")
	}},
	{name: "upload_checkpoints", schema: 3, rows: true, insert: lastWins, columns: []column{
		rowNumber("id"), words("batch_id"), count("chunk_index"), maybe(number("last_uploaded_id")), maybe(number("last_uploaded_timestamp")),
		maybe(number("upload_time")), maybe(number("metrics_count")), maybe(number("first_uploaded_timestamp")),
	}},
	{name: "status", schema: 3, insert: lastWins, columns: []column{
		words("component"), words("daemon"), words("state"), number("pid"), words("version"), words("boot_id"), number("started_ms"),
		number("interval_ms"), number("heartbeat_ms"), number("heartbeat_boot_ms"), number("success_ms"), number("success_boot_ms"), words("error"),
		number("error_ms"), number("failing_since_ms"), count("succeeded"), count("failed"), words("detail"),
	}, fits: func(r *record) bool {
		// RepairRow requests the repair that is under way.
		return oneOf(r.values[2], status.Running, status.Stopped) && !oneOf(r.values[0], "", status.RepairRow)
	}},
	{name: "counters", schema: 3, columns: []column{
		words("name"), words("tags"), {name: "value", kinds: whole | float},
	}, insert: `INSERT INTO main.%s (%s) VALUES (%s) ON CONFLICT DO UPDATE SET value = excluded.value WHERE excluded.value > value`},
	{name: "rejected", schema: 3, insert: lastWins, columns: []column{
		within("timestamp_ms", 0, store.MaxTimeMs), within("series_id", 1, store.MaxSeries), number("rejected_ms"), within("http_status", 0, 999),
		words("reason"), words("server_words"),
	}},
	{name: "ledger", schema: 3, columns: []column{
		words("name"), count("count"),
	}, fits: func(r *record) bool {
		return oneOf(r.values[0], "captured", "delivered", "held", "local", "rejected")
	}, insert: `INSERT INTO main.%s (%s) VALUES (%s) ON CONFLICT DO UPDATE SET count = excluded.count WHERE excluded.count > count`},
	{name: "losses", schema: 3, columns: []column{
		words("reason"), count("count"), number("first_ms"), number("last_ms"),
	}, insert: `INSERT INTO main.%s (%s) VALUES (%s) ON CONFLICT DO UPDATE SET count = excluded.count,
		first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms) WHERE excluded.count > count`},

	{name: "series_used", schema: 3, rows: true, insert: firstWins, columns: []column{rowNumber("series_id")}},
	{name: "events", schema: 3, rows: true, insert: lastWins, columns: []column{
		rowNumber("id"), within("time", 0, store.MaxTimeMs),
		words("source"), words("event"), words("reason"), words("link"), words("text"), count("held"),
	}, fits: func(r *record) bool { return len(r.values[6].b) <= metric.MaxEventText }},

	{name: "schema_version", schema: 0, rows: true, columns: []column{
		rowNumber("id"), within("version", 1, 999), words("applied_at"),
	}},

	// Earlier schemas. The first files of schema 2 have one more column in metrics.
	{name: "metrics", schema: 1, rows: true, insert: lastWins, columns: []column{
		rowNumber("id"), within("timestamp_ms", 0, store.MaxTimeMs), words("metric_name"),
		{name: "metric_value", kinds: whole | float | null},
		maybe(words("device_id")),
	}},
	{name: "metrics", schema: 2, rows: true, insert: lastWins, columns: metrics2},
	{name: "metrics", schema: 2, rows: true, insert: lastWins, columns: append(slices.Clip(metrics2), words("dedup_key"))},
	{name: "sessions", schema: 2, rows: true, insert: lastWins, columns: []column{
		words("id"), number("start_time"), maybe(number("end_time")), maybe(words("status")), maybe(words("metadata")),
	}},
	{name: "upload_checkpoints", schema: 2, rows: true, insert: lastWins, columns: []column{
		rowNumber("id"), words("batch_id"), count("chunk_index"), maybe(number("last_uploaded_id")), maybe(number("last_uploaded_timestamp")),
		maybe(number("upload_time")), maybe(number("metrics_count")),
	}},
}

var metrics2 = []column{
	rowNumber("id"), within("timestamp_ms", 0, store.MaxTimeMs), words("metric_name"),
	{name: "metric_value", kinds: whole | float | null},
	maybe(words("value_text")),
	maybe(number("value_type")), maybe(words("tags")), maybe(words("session_id")), maybe(words("device_id")),
	maybe(number("uploaded")), maybe(number("priority")),
}

// passedOver are tables that are not copied: the new file has its own rows.
var passedOver = []string{"schema_version", "sqlite_sequence"}

// shapes are the tables by whether they have row numbers and by their number of
// columns.
var shapes = func() (by [2][maxColumns + 1][]*table) {
	for _, t := range tables {
		by[index(t.rows)][len(t.columns)] = append(by[index(t.rows)][len(t.columns)], t)
	}
	return by
}()

func index(rows bool) int {
	if rows {
		return 1
	}
	return 0
}

// tableOf returns the table that a record fits, nil if it fits none or more than
// one. Unless the record is complete, its values are not compared.
func tableOf(r *record, rows, complete bool) (found *table) {
	for _, t := range shapes[index(rows)][r.columns] {
		if !t.fitsColumns(r) || complete && t.fits != nil && !t.fits(r) {
			continue
		}
		if found != nil {
			return nil
		}
		found = t
	}
	return found
}

func (t *table) fitsColumns(r *record) bool {
	for i, c := range t.columns {
		v := &r.values[i]
		if v.kind&c.kinds == 0 {
			return false
		}
		if v.kind == whole && !v.absent && c.most != 0 && (v.n < c.least || v.n > c.most) {
			return false
		}
	}
	return true
}

// statement returns the SQL that writes a row into the new file.
func (t *table) statement() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	list := strings.Join(names, ", ")
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return fmt.Sprintf(t.insert, t.name, list, marks)
}

// args returns the values of a row for its statement.
func (t *table) args(r *record, rowid int64) []any {
	all := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch v := r.values[i]; {
		case c.rowid:
			all[i] = rowid
		case v.kind == whole:
			all[i] = v.n
		case v.kind == float:
			all[i] = v.f
		case v.kind == text:
			all[i] = string(v.b)
		}
	}
	return all
}

func seriesIn(r *record, id int64) store.Series {
	return store.Series{
		ID: id, Name: string(r.values[2].b), Device: string(r.values[3].b), Tags: string(r.values[4].b),
		Type: int(r.values[5].n),
	}
}

func oneOf(v value, all ...string) bool { return slices.Contains(all, string(v.b)) }
