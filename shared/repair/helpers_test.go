package repair

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// Of a WAL: sqlite.org/fileformat2.html, "The Write-Ahead Log".
const (
	walHeader   = 32
	frameHeader = 24
)

// owned is a database with what opens it: the owner, or for a process that does
// not repair nil.
type owned struct {
	*store.DB
	owner *Owner
}

// Mend opens the database, or opens it again.
func (o *owned) Mend(ctx context.Context) error {
	if o.owner == nil {
		return Reopen(ctx, o.DB, discard())
	}
	_, err := o.owner.Step(ctx)
	return err
}

// notYet is a database of the collector's that Mend is to open.
func notYet(t testing.TB, path string, log io.Writer) *owned {
	db := store.New(path, store.Options{Device: "board-1"})
	t.Cleanup(func() { db.Close() })
	return &owned{db, New(db, slog.New(slog.NewTextHandler(log, nil)))}
}

// own opens the database as the collector does.
func own(ctx context.Context, path string, log io.Writer) (*owned, error) {
	db := store.New(path, store.Options{Device: "board-1"})
	o := &owned{db, New(db, slog.New(slog.NewTextHandler(log, nil)))}
	if err := o.Mend(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return o, nil
}

func mustOwn(t testing.TB, path string, log io.Writer) *owned {
	t.Helper()
	db := notYet(t, path, log)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// mustOpen opens the database as the shipper does.
func mustOpen(t testing.TB, path string) *owned {
	t.Helper()
	db, err := Open(t.Context(), path, store.Options{Device: "board-1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &owned{db, nil}
}

func mustRecord(t testing.TB, db *owned, u store.Update) int {
	t.Helper()
	n, err := db.Record(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tick is n samples at one time, of series 0 to n-1.
func tick(at int64, n int) []metric.Sample {
	samples := make([]metric.Sample, n)
	for i := range samples {
		samples[i] = metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", fmt.Sprint(i)), TimeMs: at, Value: float64(i) + 0.125}
	}
	return samples
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// connect opens the file with an ordinary SQLite connection.
func connect(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// query asks the file with an ordinary SQLite connection.
func query(t testing.TB, path, query string, args ...any) *sql.Row {
	t.Helper()
	return connect(t, path).QueryRow(query, args...)
}

// mustSQL runs statements on a file with an ordinary SQLite connection.
func mustSQL(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// oldV2 makes the tables of schema 2.
const oldV2 = `CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL, metric_name TEXT NOT NULL,
	metric_value REAL, value_text TEXT, value_type INTEGER DEFAULT 0, tags TEXT, session_id TEXT, device_id TEXT,
	uploaded INTEGER DEFAULT 0, priority INTEGER DEFAULT 2, dedup_key TEXT NOT NULL);
	CREATE INDEX idx_timestamp ON metrics(timestamp_ms);
	CREATE UNIQUE INDEX ux_metrics_dedup ON metrics(dedup_key);
	CREATE TABLE sessions (id TEXT PRIMARY KEY, start_time INTEGER NOT NULL, end_time INTEGER, status TEXT, metadata TEXT);
	CREATE TABLE upload_checkpoints (id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT NOT NULL, chunk_index INTEGER NOT NULL,
	last_uploaded_id INTEGER, last_uploaded_timestamp INTEGER, upload_time INTEGER, metrics_count INTEGER);
	CREATE TABLE schema_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, applied_at TEXT NOT NULL);
	INSERT INTO schema_version (version, applied_at) VALUES (2, '2025-10-12');`

// otherReader reads from the file as another process would, until end.
func otherReader(t testing.TB, path string) (end func()) {
	t.Helper()
	other, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM samples").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// keepReading holds a connection of db itself, until end.
func keepReading(t testing.TB, db *owned) (end func()) {
	t.Helper()
	begun, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var once sync.Once
		span := store.BucketSpan{Series: []int64{1, 2, 3}, From: 0, Until: 1 << 20, StepMs: 1}
		_ = db.Buckets(context.Background(), span, func(store.Bucket) {
			once.Do(func() { close(begun) })
			<-stop
		})
	}()
	<-begun
	return func() { close(stop); <-ended }
}
