package store

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/google/go-cmp/cmp"
)

func readSchema(t testing.TB, db *DB) []string {
	t.Helper()
	rows, err := db.read.Query("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Join(strings.Fields(strings.ReplaceAll(s, "(", "( ")), " "))
	}
	return all
}

func readMetrics(t testing.TB, db *DB) []string {
	t.Helper()
	rows, err := db.read.Query(`SELECT timestamp_ms, metric_name, coalesce(metric_value, '-'), coalesce(value_text, '-'), value_type,
		tags, coalesce(session_id, '-'), device_id, uploaded, priority FROM metrics ORDER BY timestamp_ms, metric_name, tags`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		c := make([]any, 10)
		for i := range c {
			c[i] = new(sql.NullString)
		}
		if err := rows.Scan(c...); err != nil {
			t.Fatal(err)
		}
		line := ""
		for _, v := range c {
			line += v.(*sql.NullString).String + "|"
		}
		all = append(all, line)
	}
	return all
}

func TestEveryRowOfASchema1FileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	sqltest.Exec(t, path, sqltest.Schema1, `INSERT INTO metrics (timestamp_ms, metric_name, metric_value, device_id) VALUES
		(1000, 'cpu.temperature', 52.3, 'belabox-001'), (2000, 'cpu.temperature', 53, 'belabox-001'),
		(2000, 'cpu.temperature', 53, 'belabox-001'), (2000, 'srt.packet_loss', 0.5, NULL)`)
	db := mustOpen(t, path)
	want := []string{
		"1000|cpu.temperature|52.3|-|0||-|belabox-001|0|2|",
		"2000|cpu.temperature|53|-|0||-|belabox-001|0|2|",
		"2000|srt.packet_loss|0.5|-|0||-|board-1|0|2|",
	}
	if diff := cmp.Diff(want, readMetrics(t, db)); diff != "" {
		t.Error(diff)
	}
	if l := mustBalance(t, db); l.Captured != 3 || l.Pending != 3 || l.Lost != 0 {
		t.Errorf("ledger %+v", l)
	}
}

func TestEveryRowOfASchema2FileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	sqltest.Exec(t, path, sqltest.Schema2, `INSERT INTO metrics (id, timestamp_ms, metric_name, metric_value, value_text, value_type, tags, session_id, device_id, uploaded, priority, dedup_key) VALUES
		(1, 1000, 'cpu.usage_percent', 12.5, NULL, 0, '{"core":"0"}', 's1', 'd', 1, 2, 'a'),
		(2, 1000, 'cpu.usage_percent', 13.5, NULL, 0, '{ "core": 1 }', 's1', 'd', 0, 1, 'b'),
		(3, 1500, 'encoder.state', NULL, 'on air', 1, '', 's2', 'd', 0, 2, 'c'),
		(4, 1600, 'memory.used_bytes', NULL, NULL, 0, NULL, NULL, 'd', 0, NULL, 'd'),
		(5, 1700, 'memory.used_bytes', 99, NULL, NULL, 'rubbish', 's2', 'd', NULL, 9, 'e'),
		(6, 1800, 'x', 1, NULL, 0, '{"a":"1"}', 's1', 'd', 0, 2, 'f'),
		(7, 1800, 'x', 2, NULL, 0, '{"a": "1"}', 's1', 'd', 0, 2, 'g')`,
		`INSERT INTO sessions VALUES ('s1', 900, 1900, 'completed', '{}')`,
		`INSERT INTO upload_checkpoints VALUES (7, 'batch', 3, 1, 1000, 1100, 50)`)
	db := mustOpen(t, path)
	want := []string{
		`1000|cpu.usage_percent|12.5|-|0|{"core":"0"}|s1|d|1|2|`,
		`1000|cpu.usage_percent|13.5|-|0|{"core":"1"}|s1|d|0|1|`,
		`1500|encoder.state|-|on air|1||s2|d|4|2|`,
		`1600|memory.used_bytes|-|-|0||-|d|2|2|`,
		`1700|memory.used_bytes|99|-|0|{"unparsed_tags":"rubbish"}|s2|d|0|3|`,
		`1800|x|1|-|0|{"a":"1"}|s1|d|0|2|`,
	}
	if diff := cmp.Diff(want, readMetrics(t, db)); diff != "" {
		t.Error(diff)
	}
	l := mustBalance(t, db)
	if diff := cmp.Diff(Ledger{Captured: 7, Delivered: 1, Pending: 3, Rejected: 1, Local: 1, Lost: 1}, l); diff != "" {
		t.Error(diff)
	}
	var receipt string
	err := db.read.QueryRow(`SELECT u.batch_id || u.chunk_index || (u.last_uploaded_id = m.id) || u.metrics_count
		FROM upload_checkpoints AS u JOIN metrics AS m ON m.tags = '{"core":"0"}'`).Scan(&receipt)
	if err != nil || receipt != "batch3150" {
		t.Errorf("receipt %q, %v", receipt, err)
	}
}

func TestEveryMigrationPathEndsInTheSameSchema(t *testing.T) {
	var want []string
	for i, start := range []string{"", sqltest.Schema1, sqltest.Schema2} {
		path := filepath.Join(t.TempDir(), "metrics.db")
		if start != "" {
			sqltest.Exec(t, path, start)
		}
		got := readSchema(t, mustOpen(t, path))
		if i == 0 {
			want = got
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from schema %d: %s", i, diff)
		}
	}
}

func TestAFileThatIsNotOursIsRefusedAndNotTouched(t *testing.T) {
	for name, statement := range map[string]string{
		"newer":   "CREATE TABLE schema_version (id INTEGER PRIMARY KEY, version INTEGER, applied_at TEXT); INSERT INTO schema_version VALUES (1, 4, '')",
		"foreign": "CREATE TABLE photos (id INTEGER PRIMARY KEY)",
	} {
		path := filepath.Join(t.TempDir(), name+".db")
		sqltest.Exec(t, path, "PRAGMA journal_mode=WAL", statement)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), path, Options{Device: "d"})
		if err == nil {
			db.Close()
			t.Errorf("%s: opened", name)
		}
		after, err2 := os.ReadFile(path)
		if err2 != nil || string(before) != string(after) {
			t.Errorf("%s: the file was changed (%v)", name, err2)
		}
		t.Log(fmt.Sprint(err))
	}
}
