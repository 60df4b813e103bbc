package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

const (
	loggedTicks = 120
	inFileTicks = 60 // of those
)

// A logged is a database half of which is only in its WAL.
type logged struct {
	file, log []byte
	rows      map[key]string
	frames    []int // the last frame of each transaction
}

func mustLogged(t testing.TB) logged {
	t.Helper()
	l, err := makeLogged()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var makeLogged = sync.OnceValues(func() (l logged, err error) {
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "stock.db")
	db, err := store.Open(ctx, path, store.Options{Device: "board-1", Synchronous: "NORMAL"})
	if err != nil {
		return l, err
	}
	defer db.Close()
	err = db.StartSession(ctx, store.Session{ID: "s-1", Start: time.UnixMilli(1)})
	for i := 0; i < loggedTicks && err == nil; i++ {
		_, err = db.Record(ctx, store.Update{Groups: []store.Group{{Priority: i % 4, Samples: tick(int64(1_700_000_000_000 + i*10_000))}}})
		if i == inFileTicks && err == nil {
			_, err = db.Checkpoint(ctx, 0)
		}
	}
	if err == nil {
		l.rows, err = readRows(path)
	}
	if err == nil {
		l.file, err = os.ReadFile(path)
	}
	if err == nil {
		l.log, err = os.ReadFile(path + "-wal")
	}
	salt := string(l.log[16:24])
	for n, at := 1, walHeader; at+frameHeader+pageSize <= len(l.log); n, at = n+1, at+frameHeader+pageSize {
		if string(l.log[at+8:at+16]) == salt && binary.BigEndian.Uint32(l.log[at+4:]) != 0 {
			l.frames = append(l.frames, n)
		}
	}
	return l, err
})

// frameAt is where the n-th frame of a WAL is.
func frameAt(n int) int { return walHeader + (n-1)*(frameHeader+pageSize) }

func TestSamplesThatAreOnlyInTheWALAreKept(t *testing.T) {
	l := mustLogged(t)
	const perTick = stockSeries
	for _, c := range []struct {
		name   string
		damage func(file, log []byte) ([]byte, []byte)
		least  int  // rows
		silent bool // SQLite itself could not tell that there was more
	}{
		{"nothing", func(f, w []byte) ([]byte, []byte) { return f, w }, loggedTicks * perTick, false},
		{"no file", func(f, w []byte) ([]byte, []byte) { return nil, w }, (loggedTicks - inFileTicks - 2) * perTick, false},
		{"no first page", func(f, w []byte) ([]byte, []byte) { return zero(f, 0, pageSize), w }, loggedTicks * perTick, false},
		{"a file cut to half", func(f, w []byte) ([]byte, []byte) { return f[:len(f)/2], w }, (loggedTicks - inFileTicks) * perTick, false},
		{"a broken frame in the middle", func(f, w []byte) ([]byte, []byte) {
			w[frameAt(l.frames[len(l.frames)/2])+frameHeader+500] ^= 1
			return f, w
		}, (loggedTicks - 2) * perTick, false},
		{"ten broken frames", func(f, w []byte) ([]byte, []byte) {
			for i := range 10 {
				w[frameAt(l.frames[len(l.frames)/12*(i+1)])+frameHeader+500] ^= 1
			}
			return f, w
		}, (loggedTicks - 20) * perTick, false},
		{"a broken frame, and a file without its first half", func(f, w []byte) ([]byte, []byte) {
			w[frameAt(l.frames[len(l.frames)/2])+frameHeader+500] ^= 1
			return zero(f, 0, len(f)/2), w
		}, (loggedTicks - inFileTicks - 3) * perTick, false},
		{"a WAL whose header is noise", func(f, w []byte) ([]byte, []byte) {
			copy(w, "no header of a write-ahead log...")
			return f, w
		}, inFileTicks * perTick, false},
		{"no file, and a WAL whose header is noise", func(f, w []byte) ([]byte, []byte) {
			copy(w, "no header of a write-ahead log...")
			return nil, w
		}, (loggedTicks - inFileTicks - 3) * perTick, false},
		{"a last transaction that is torn", func(f, w []byte) ([]byte, []byte) {
			w[frameAt(l.frames[len(l.frames)-1])+frameHeader+500] ^= 1
			return f, w
		}, (loggedTicks - 1) * perTick, true},
		{"a WAL cut at an odd size", func(f, w []byte) ([]byte, []byte) {
			return f, w[:frameAt(l.frames[len(l.frames)/2])+777]
		}, (inFileTicks + (loggedTicks-inFileTicks)/2 - 2) * perTick, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, log := c.damage(slices.Clone(l.file), slices.Clone(l.log))
			report, to := mustRun(t, file, log, Known{Device: "board-1"})
			rows, err := readRows(to)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of %d rows, lost %v, %+v", len(rows), len(l.rows), lostText(report), report)
			for k, is := range rows {
				if l.rows[k] != is {
					t.Errorf("%v is %q, was %q", k, is, l.rows[k])
				}
			}
			if len(rows) < c.least {
				t.Errorf("%d rows, want %d", len(rows), c.least)
			}
			if report.Lost != nil && int(*report.Lost) != len(l.rows)-len(rows) && !c.silent {
				t.Errorf("lost %d, want %d or unknown", *report.Lost, len(l.rows)-len(rows))
			}
			checkSound(t, to)
		})
	}
}

// What a broken WAL has behind the break is as SQLite wrote it: it fits to the sum
// of the frame before. What does not is left.
func TestABrokenFrameIsNotUsed(t *testing.T) {
	l := mustLogged(t)
	at := l.frames[len(l.frames)/2]
	log := slices.Clone(l.log)
	log[frameAt(at)+frameHeader+500] ^= 1
	w := readWAL(newDevice(bytes.NewReader(log), int64(len(log))))
	if !w.broken || w.lastBroken != int32(at) || w.frames >= at || len(w.behind) == 0 {
		t.Fatalf("%d frames, broken %v, the last of them %d, want %d; %d behind", w.frames, w.broken, w.lastBroken, at, len(w.behind))
	}
	for _, f := range slices.Concat(w.good, w.behind) {
		if f.n == int32(at) {
			t.Error("the broken frame is used")
		}
	}
	for _, f := range w.behind {
		if int(f.n) <= w.frames {
			t.Errorf("frame %d is taken for one behind the break", f.n)
		}
	}
}

// A WAL is used again from its beginning: what an earlier use left in it is no
// part of the database any more.
func TestFramesOfAnEarlierUseOfTheWALAreLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db, err := store.Open(t.Context(), path, store.Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range 30 {
		if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(int64(i))}}}); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := db.Checkpoint(t.Context(), 0); err != nil || c.Busy {
		t.Fatal(c, err)
	}
	if err := execute(path, "DELETE FROM samples WHERE timestamp_ms < 10"); err != nil {
		t.Fatal(err)
	}
	rows, err := readRows(path)
	if err != nil {
		t.Fatal(err)
	}
	var parts [2][]byte
	for i, part := range []string{"", "-wal"} {
		if parts[i], err = os.ReadFile(path + part); err != nil {
			t.Fatal(err)
		}
	}
	_, to := mustRun(t, parts[0], parts[1], Known{})
	got, err := readRows(to)
	if err != nil || !maps.Equal(got, rows) {
		t.Errorf("%d rows, want %d, %v", len(got), len(rows), err)
	}
}

func checkSound(t testing.TB, path string) {
	t.Helper()
	db, err := store.OpenReader(t.Context(), path, store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if l, err := storetest.Audit(t.Context(), db); err != nil {
		t.Errorf("%+v, %v", l, err)
	}
	check, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer check.Close()
	var found string
	if err := check.QueryRow("PRAGMA integrity_check").Scan(&found); err != nil || found != "ok" {
		t.Errorf("integrity: %s, %v", found, err)
	}
}
