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
	"github.com/taniwha3/thugshells/shared/store/sqltest"
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

// query asks the file with an ordinary SQLite connection.
func query(t testing.TB, path, query string, args ...any) *sql.Row {
	t.Helper()
	return sqltest.Open(t, path).QueryRow(query, args...)
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
