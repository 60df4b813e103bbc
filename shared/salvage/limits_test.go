package salvage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A badDevice fails to read some pages, for good or so many times.
type badDevice struct {
	io.ReaderAt
	bad   map[int64]int // by page: how often it fails
	reads int
}

func (b *badDevice) ReadAt(data []byte, at int64) (int, error) {
	b.reads++
	failed := false
	for page := at / pageSize; page*pageSize < at+int64(len(data)); page++ {
		if b.bad[page] > 0 {
			b.bad[page]--
			failed = true
		}
	}
	if failed {
		return 0, syscall.EIO
	}
	return b.ReaderAt.ReadAt(data, at)
}

func TestAPageIsReadThreeTimesAndThenCounted(t *testing.T) {
	s := mustStock(t)
	numbers := slices.Sorted(maps.Values(s.pageOf))
	for name, c := range map[string]struct {
		fails      int
		unreadable int64
	}{
		"for a moment": {2, 0},
		"for good":     {1 << 30, 20},
	} {
		t.Run(name, func(t *testing.T) {
			bad := &badDevice{ReaderAt: bytes.NewReader(s.file), bad: map[int64]int{}}
			pages := map[uint32]bool{}
			for i := range 20 {
				number := numbers[len(numbers)/20*i]
				pages[number] = true
				bad.bad[int64(number)-1] = c.fails
			}
			to := filepath.Join(t.TempDir(), "new.db")
			report, err := run(t.Context(), newDevice(bad, int64(len(s.file))), newDevice(nil, 0), to, Known{Device: "board-1"})
			if err != nil {
				t.Fatal(err)
			}
			rows, err := readRows(to)
			if err != nil {
				t.Fatal(err)
			}
			want := len(s.rows)
			for k := range s.rows {
				if c.unreadable > 0 && pages[s.pageOf[k]] {
					want--
				}
			}
			if report.Unreadable != c.unreadable || len(rows) != want {
				t.Errorf("%d pages unreadable, want %d; %d rows, want %d", report.Unreadable, c.unreadable, len(rows), want)
			}
		})
	}
}

func TestTheNewestSamplesAreKeptWhenTimeOrRoomEnds(t *testing.T) {
	s := mustStock(t)
	newest := slices.MaxFunc(slices.Collect(maps.Keys(s.rows)), func(a, b key) int { return int(a.at - b.at) }).at
	for name, c := range map[string]struct {
		known  Known
		halted string
	}{
		"no time":        {Known{Limit: time.Nanosecond}, "longer than"},
		"no room at all": {Known{KeepFree: 1 << 60}, "the disk is nearly full"},
	} {
		t.Run(name, func(t *testing.T) {
			report, to := mustRun(t, s.file, nil, c.known)
			if !strings.Contains(report.Halted, c.halted) {
				t.Errorf("halted: %q", report.Halted)
			}
			checkSound(t, to)
		})
	}
	// The limits are looked at before each chunk: let them end after the third.
	to := filepath.Join(t.TempDir(), "new.db")
	if err := create(t.Context(), to, "d"); err != nil {
		t.Fatal(err)
	}
	one := &salvage{ctx: t.Context(), to: to, known: Known{Limit: time.Hour}, until: time.Now().Add(time.Minute)} // less than three quarters are left
	one.pages = newPages(newDevice(bytes.NewReader(s.file), int64(len(s.file))), newDevice(nil, 0))
	one.scan = &scanner{pages: one.pages}
	var err error
	if one.into, err = newWriter(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	defer one.into.close()
	if err := one.copySmallTables(); err != nil {
		t.Fatal(err)
	}
	if err := one.into.transact(one.names); err != nil {
		t.Fatal(err)
	}
	all := len(one.found.order)
	slices.Sort(one.found.order)
	one.found.order = one.found.order[all-3*(chunkBytes/pageSize):] // what is reached in that time
	if err := one.samples(); err != nil {
		t.Fatal(err)
	}
	rows, err := readRows(to)
	if err != nil {
		t.Fatal(err)
	}
	oldest := newest
	for k := range rows {
		if rows[k] != s.rows[k] {
			t.Errorf("%v is %q, was %q", k, rows[k], s.rows[k])
		}
		if k.at > 5000 {
			oldest = min(oldest, k.at)
		}
	}
	missing := 0
	for k := range s.rows {
		if _, there := rows[k]; !there && k.at > oldest+int64(time.Hour/time.Millisecond) {
			missing++
		}
	}
	if len(rows) < 10_000 || missing*50 > len(rows) {
		t.Errorf("%d rows, %d newer than the oldest of them are missing", len(rows), missing)
	}
}

func TestADatabaseOfANewerProgramIsRefused(t *testing.T) {
	s := mustStock(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "old.db"), filepath.Join(dir, "new.db")
	if err := os.WriteFile(from, s.file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := execute(from, fmt.Sprintf("INSERT INTO schema_version (version, applied_at) VALUES (%d, 'later')", store.SchemaVersion+1)); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"sound": file, "without its first page": zero(slices.Clone(file), 0, pageSize)} {
		if err := os.WriteFile(from, damaged, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), from, to, Known{}); !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(to + "*"); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestTheRowThatReportsTheDamageIsInTheNewFile(t *testing.T) {
	s := mustStock(t)
	var noted Report
	report, to := mustRun(t, zero(slices.Clone(s.file), 0, pageSize), nil, Known{Note: func(r Report) status.Row {
		noted = r
		return status.Row{Component: status.DamageRow, Daemon: "d", State: status.Stopped, Detail: fmt.Sprintf(`{"salvaged":%d}`, r.Samples)}
	}})
	if noted.Samples != report.Samples || noted.Lost == nil || report.Samples != int64(len(s.rows)) {
		t.Errorf("noted %+v, reported %+v", noted, report)
	}
	db, err := store.OpenReader(t.Context(), to, store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, err := db.Statuses(t.Context())
	if err != nil || !slices.ContainsFunc(all, func(r status.Row) bool {
		return r.Component == status.DamageRow && r.Detail == fmt.Sprintf(`{"salvaged":%d}`, len(s.rows))
	}) {
		t.Errorf("%+v, %v", all, err)
	}
	if !slices.ContainsFunc(all, func(r status.Row) bool { return r.Component == status.CollectorRow && len(r.Detail) > 4000 }) {
		t.Error("a row that goes on in other pages is not kept")
	}
}

func TestNothingIsCopiedOnRequest(t *testing.T) {
	s := mustStock(t)
	report, to := mustRun(t, s.file, nil, Known{Nothing: true})
	rows, err := readRows(to)
	if err != nil || len(rows) != 0 || report.Samples != 0 || report.Lost != nil {
		t.Errorf("%d rows, %+v, %v", len(rows), report, err)
	}
	checkSound(t, to)
}
