package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"
)

// walSize is the length of the WAL.
func walSize(t testing.TB, db *DB) int64 {
	t.Helper()
	s, err := db.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	return s.WAL
}

func mustCheckpoint(t testing.TB, db *DB, keep int64) Checkpoint {
	t.Helper()
	c, err := db.Checkpoint(t.Context(), keep)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fill(t testing.TB, db *DB, from int64, ticks int) {
	t.Helper()
	for i := range ticks {
		mustRecord(t, db, Update{Groups: []Group{{Samples: tick(from+int64(i), 60)}}})
	}
}

func TestAWALIsCutOrReusedFromItsBeginning(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	fill(t, db, 1000, 30)
	full := walSize(t, db)
	c := mustCheckpoint(t, db, full)
	if c.Busy || c.Frames == 0 || c.Moved != c.Frames || c.Reclaimed != full || c.Duration <= 0 {
		t.Errorf("%+v; the log has %d bytes", c, full)
	}
	if n := walSize(t, db); n != full {
		t.Errorf("a log of %d bytes that may be kept has %d", full, n)
	}
	fill(t, db, 2000, 5)
	if n := walSize(t, db); n != full {
		t.Errorf("the log grew from %d to %d bytes instead of being used again", full, n)
	}
	if c := mustCheckpoint(t, db, full-1); c.Busy || c.Frames == 0 || c.Reclaimed == 0 || c.Reclaimed >= full {
		t.Errorf("%+v", c)
	}
	if n := walSize(t, db); n != 0 {
		t.Errorf("a log longer than may be kept has %d bytes", n)
	}
	if c := mustCheckpoint(t, db, 0); c.Busy || c.Frames != 0 || c.Reclaimed != 0 {
		t.Errorf("of an empty log: %+v", c)
	}
}

func TestAReaderThatStaysIsDetectedAndSurvived(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	fill(t, db, 1000, 10)
	end := sqltest.Read(t, path)
	fill(t, db, 2000, 10)
	before := walSize(t, db)
	for range 3 {
		c := mustCheckpoint(t, db, 0)
		if !c.Busy || c.Reclaimed != 0 || c.Frames == 0 || c.Moved >= c.Frames {
			t.Errorf("with a reader in the log: %+v", c)
		}
		if c.Duration > busyTimeout/2 {
			t.Errorf("the writers waited %v for a reader", c.Duration)
		}
	}
	fill(t, db, 3000, 10)
	if n := walSize(t, db); n <= before {
		t.Errorf("the log has %d bytes, had %d: the reader pins nothing and the test is void", n, before)
	}
	var timeout int
	if err := db.write.QueryRow("PRAGMA busy_timeout").Scan(&timeout); err != nil || time.Duration(timeout)*time.Millisecond != busyTimeout {
		t.Errorf("busy_timeout is %d afterwards, %v", timeout, err)
	}
	end()
	if c := mustCheckpoint(t, db, 0); c.Busy || c.Frames == 0 || walSize(t, db) != 0 {
		t.Errorf("after the reader left: %+v, %d bytes of log", c, walSize(t, db))
	}
	mustBe(t, db, 30*60, "SELECT count(*) FROM samples")
}

// With a reader that began last, all frames can be moved, but the WAL cannot be
// reused from its beginning: it would grow without limit.
func TestAWALThatIsMovedButInUseIsNotFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	fill(t, db, 1000, 10)
	end := sqltest.Read(t, path)
	if c := mustCheckpoint(t, db, 1<<30); !c.Busy || c.Moved != c.Frames || c.Frames == 0 {
		t.Errorf("%+v", c)
	}
	end()
	if c := mustCheckpoint(t, db, 1<<30); c.Busy {
		t.Errorf("after the reader left: %+v", c)
	}
}

// No method may leave a reading transaction open: it would pin the log.
func TestNoReaderPinsTheWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	fill(t, db, 1000, 10)
	r, err := OpenReader(t.Context(), path, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, read := range map[string]func(context.Context, *Reader) error{
		"Newest": func(ctx context.Context, r *Reader) error { _, err := r.Newest(ctx, 50); return err },
		"Backlog": func(ctx context.Context, r *Reader) error {
			_, err := r.Backlog(ctx, nil, &Cursor{}, 1<<40, true, 50)
			return err
		},
		"Rejections": func(ctx context.Context, r *Reader) error {
			return r.Rejections(ctx, func(Rejection) error { return nil })
		},
		"Snapshot":      func(ctx context.Context, r *Reader) error { _, err := r.Snapshot(ctx); return err },
		"Ledger":        func(ctx context.Context, r *Reader) error { _, _, err := r.Ledger(ctx); return err },
		"Statuses":      func(ctx context.Context, r *Reader) error { _, err := r.Statuses(ctx); return err },
		"StatusOf":      func(ctx context.Context, r *Reader) error { _, _, err := r.StatusOf(ctx, "a"); return err },
		"Counters":      func(ctx context.Context, r *Reader) error { _, err := r.Counters(ctx); return err },
		"PageUse":       func(ctx context.Context, r *Reader) error { _, err := r.PageUse(ctx); return err },
		"SchemaVersion": func(ctx context.Context, r *Reader) error { _, err := r.SchemaVersion(ctx); return err },
	} {
		for _, reader := range []*Reader{r, db.Reader} {
			fill(t, db, time.Now().UnixNano(), 1)
			if err := read(t.Context(), reader); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := read(gone, reader); err == nil {
				t.Errorf("%s: no error under a context that has ended", name)
			}
			fill(t, db, time.Now().UnixNano(), 1)
			if c := mustCheckpoint(t, db, 0); c.Busy {
				t.Errorf("after %s the log is pinned: %+v", name, c)
			}
		}
	}
}

func TestTheWALStaysShortOverManyRounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	longest := int64(0)
	for round := range int64(20) {
		fill(t, db, round*100, 20)
		mustCheckpoint(t, db, 1<<30)
		if round == 1 {
			longest = walSize(t, db)
		}
	}
	if n := walSize(t, db); n > longest*5/4 {
		t.Errorf("%d bytes of log after 20 rounds, %d after the second", n, longest)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Error(err)
	}
}

// go-sqlite3 keeps compiled statements, and SQLite sets busy_timeout when it compiles.
func TestTheBusyTimeoutIsSetEachTime(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	conn, err := db.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 {
		for j, want := range []time.Duration{busyPoll, busyTimeout} {
			if err := setBusyTimeout(t.Context(), conn, want); err != nil {
				t.Fatal(err)
			}
			var ms int64
			err := conn.QueryRowContext(t.Context(), fmt.Sprintf("PRAGMA busy_timeout -- %d %d", i, j)).Scan(&ms)
			if got := time.Duration(ms) * time.Millisecond; got != want || err != nil {
				t.Errorf("busy_timeout is %v, want %v: %v", got, want, err)
			}
		}
	}
}

func TestAWALThatIsCutRightAfterTheFirstCommitIsNoticed(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	fill(t, db, 1000, 10)
	if err := os.Truncate(db.path+"-wal", 0); err != nil {
		t.Fatal(err)
	}
	db.guard.walBytes = 0 // as it was before the commit
	db.guard.noteCommit()
	if err := db.CheckFiles(t.Context()); !errors.Is(err, ErrWALCut) {
		t.Errorf("%v, want %v", err, ErrWALCut)
	}
}
