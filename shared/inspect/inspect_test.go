package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// fill stores ticks of n series, one each ten seconds up to now.
func fill(t testing.TB, path string, ticks, n int) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path, store.Options{Device: "board-1", Synchronous: "NORMAL"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	first := time.Now().Add(-time.Duration(ticks) * 10 * time.Second).UnixMilli()
	if err := db.StartSession(t.Context(), store.Session{ID: "session-1", Start: time.UnixMilli(first), Metadata: map[string]string{"version": "1.2.3"}}); err != nil {
		t.Fatal(err)
	}
	for i := range ticks {
		var samples []metric.Sample
		for s := range n {
			samples = append(samples, metric.Sample{
				Name: "cpu.usage_percent", Tags: metric.Tags("core", fmt.Sprint(s)), TimeMs: first + int64(i)*10_000, Value: float64(i*n+s) / 4,
			})
		}
		if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func report(t testing.TB, path string) (text string, sound bool) {
	t.Helper()
	var out bytes.Buffer
	sound, err := Report(t.Context(), &out, path, 3)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), sound
}

// mustSay fails unless the words of each line of want are in one line of text.
func mustSay(t testing.TB, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.Contains(strings.Join(strings.Fields(line), " "), w)
		}) {
			t.Errorf("not said: %q in\n%s", w, text)
		}
	}
}

func TestReportCountsALiveDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := fill(t, path, 50, 6)
	rows, err := storetest.Newest(t.Context(), db, 101)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Reject(t.Context(), []store.Rejection{{Row: rows[0], Reason: "r"}}, time.Now(), store.Update{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Acknowledge(t.Context(), rows[1:], store.Receipt{BatchID: "b", At: time.Now()}, store.Update{Lost: map[string]int{"memory_full": 7}}); err != nil {
		t.Fatal(err)
	}
	text, sound := report(t, path)
	if !sound {
		t.Errorf("not sound:\n%s", text)
	}
	mustSay(t, text, "pending 199", "delivered 100", "rejected 1", "held 0", "all 300 in 6 series", "captured 307", "= delivered 100", "+ pending 199",
		"+ lost 7", "lost: memory_full 7", "it balances with the stored rows", "receipts 1", `50 cpu.usage_percent{"core":"0"}`, "and 3 more",
		"session-1 active", "version 1.2.3", "quick_check: ok", "returned when room is short")
}

func TestReportOfACopyLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	db := fill(t, filepath.Join(dir, "metrics.db"), 10, 6)
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	box := t.TempDir()
	copied := filepath.Join(box, "copy.db")
	if err := os.WriteFile(copied, data, 0o400); err != nil {
		t.Fatal(err)
	}
	text, sound := report(t, copied)
	if !sound {
		t.Error("not sound")
	}
	mustSay(t, text, "pending 60")
	entries, err := os.ReadDir(box)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v beside the copy, %v", entries, err)
	}
}

func TestTheReportNamesProblemsAndContinues(t *testing.T) {
	dir := t.TempDir()
	db := fill(t, filepath.Join(dir, "metrics.db"), 400, 20)
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 2; i < len(data)/2+8<<10; i++ {
		data[i] = 0xa5
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, data, 0o640); err != nil {
		t.Fatal(err)
	}
	text, sound := report(t, copied)
	if sound {
		t.Error("sound, with 8 KiB overwritten")
	}
	mustSay(t, text, "database disk image is malformed", "session-1")
	if strings.Contains(text, "quick_check: ok") || !strings.Contains(text, "quick_check: ") {
		t.Errorf("the check found nothing:\n%s", text)
	}
}

func TestTheReportShowsALedgerThatDoesNotBalance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	fill(t, path, 10, 6)
	sqltest.Exec(t, path, "DELETE FROM samples WHERE series_id = 1 AND timestamp_ms = (SELECT min(timestamp_ms) FROM samples)")
	text, sound := report(t, path)
	if sound {
		t.Error("sound, with a pending sample gone")
	}
	mustSay(t, text, "59 samples are pending, the ledger says 60")
}

func TestReportOfNothingOrOfAnotherFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	sqltest.Exec(t, other, "CREATE TABLE photos (id INTEGER)")
	if _, err := Report(t.Context(), io.Discard, filepath.Join(dir, "none.db"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Report(t.Context(), io.Discard, other, 1); !errors.Is(err, store.ErrForeign) {
		t.Errorf("of another program: %v", err)
	}
}

func TestExportGivesEverySampleFromATimeOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := fill(t, path, 300, 40)
	rows, err := storetest.Newest(t.Context(), db, 6000) // delivered, and still exported
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Acknowledge(t.Context(), rows, store.Receipt{BatchID: "b", At: time.Now()}, store.Update{}); err != nil {
		t.Fatal(err)
	}
	held := metric.Sample{Name: "system.load1", TimeMs: 12345, Value: 1}
	ahead := metric.Sample{Name: "system.load1", TimeMs: time.Now().Add(1000 * time.Hour).UnixMilli(), Value: 1}
	for _, u := range []store.Update{
		{HoldAll: true, Groups: []store.Group{{Samples: []metric.Sample{held}}}},
		{Groups: []store.Group{{Samples: []metric.Sample{ahead}}}},
	} {
		if _, err := db.Record(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	since := rows[len(rows)-1].TimeMs
	for _, c := range []struct {
		since int64
		want  Exported
	}{
		{1, Exported{Samples: 12000, Held: 1, Refused: 1}},
		{since, Exported{Samples: 6000, Refused: 1}},
		{since + 1, Exported{Samples: 5960, Refused: 1}},
	} {
		var out bytes.Buffer
		got, err := Export(t.Context(), &out, path, c.since)
		if err != nil {
			t.Fatal(err)
		}
		c.want.Lines = got.Lines
		if diff := cmp.Diff(c.want, got); diff != "" || got.Lines < 40 || got.Lines > 80 {
			t.Errorf("since %d: %d lines, %s", c.since, got.Lines, diff)
		}
		if n := readBack(t, &out); int64(n) != c.want.Samples {
			t.Errorf("since %d: %d different samples in the lines, want %d", c.since, n, c.want.Samples)
		}
	}
}

// readBack reads lines strictly and returns how many different samples they
// hold.
func readBack(t testing.TB, r io.Reader) int {
	t.Helper()
	seen := map[string]bool{}
	err := vmjson.Read(r, vmjson.Limits{}, func(number int, line vmjson.Line, refused error) error {
		if refused != nil {
			return fmt.Errorf("line %d: %w", number, refused)
		}
		for i, at := range line.Timestamps {
			seen[fmt.Sprint(line.Name, line.Labels, at, line.Values[i])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(seen)
}

func TestExportOfManySamplesTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	fill(t, path, 1500, 200).Close()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &watching{}
	out, err := Export(t.Context(), w, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if out.Samples != 300_000 || out.Lines != 6*200 {
		t.Errorf("%+v", out)
	}
	if held := int64(w.heap) - int64(before.HeapAlloc); held > 4<<20 {
		t.Errorf("an export of 300,000 samples held %d bytes", held)
	} else {
		t.Log(held, "bytes held")
	}
}

// watching notes the heap's size as it is written to.
type watching struct {
	heap uint64
	n    int
}

func (w *watching) Write(p []byte) (int, error) {
	if w.n++; w.n%8 == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.heap = max(w.heap, m.HeapAlloc)
	}
	return len(p), nil
}

func TestSinceReadsTimesAndDurations(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for _, c := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"24h", 1_800_000_000_000 - 86_400_000, true},
		{"2026-01-31T12:00:00Z", 1769860800000, true},
		{"2026-01-31T12:00:00+01:00", 1769857200000, true},
		{"-1h", 0, false},
		{"yesterday", 0, false},
		{"2026-01-31", 0, false},
	} {
		got, err := Since(c.text, now)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestVictoriaMetricsImportsAnExport(t *testing.T) {
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics): what it makes of an export can't be seen")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=100y")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	get := func(path string) string {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	await(t, func() bool { return get("/health") == "OK" })

	path := filepath.Join(t.TempDir(), "metrics.db")
	fill(t, path, 100, 30)
	var out bytes.Buffer
	exported, err := Export(t.Context(), &out, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+address+"/api/v1/import", "application/json", &out)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	await(t, func() bool { return strings.Contains(get("/metrics"), `vm_rows_inserted_total{type="vmimport"} 3000`) })
	if !strings.Contains(get("/metrics"), `vm_rows_invalid_total{type="vmimport"} 0`) && strings.Contains(get("/metrics"), `vm_rows_invalid_total{type="vmimport"}`) {
		t.Error("the server found a row invalid")
	}
	if exported.Samples != 3000 {
		t.Errorf("exported %+v", exported)
	}
	// It shows new samples after a second or two, and remembers having had none.
	get("/internal/force_flush")
	back := get("/api/v1/export?match[]=" + url.QueryEscape(`cpu_usage_percent{device_id="board-1"}`))
	if n := readBack(t, strings.NewReader(back)); n != 3000 {
		t.Errorf("the server has %d of 3000 samples", n)
	}
}

func await(t testing.TB, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatal("waited 30 s in vain")
}
