package tests

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// TestNewSamplesAreSentBeforeTheBacklog cuts the link, lets a backlog of hours
// wait, and mends it: what is new must be at the server within one round, before
// any of the backlog, and all of the backlog in the end.
func TestNewSamplesAreSentBeforeTheBacklog(t *testing.T) {
	t.Parallel()
	t.Run("after an outage", func(t *testing.T) { presentFirst(t, 200_000, false) })
	t.Run("started during the outage", func(t *testing.T) { presentFirst(t, 20_000, true) })
}

func presentFirst(t *testing.T, backlog int, restart bool) {
	t.Parallel()
	vm := newVictoria(t)
	w := newWire(t, vm.base)
	// A slow link, as the backlog would be through too soon to be looked at.
	b := newBoard(t, w.url(), ", max_kbps: 1000", "")
	collector, shipper := b.start("metrics-collector"), b.start("metrics-shipper")
	await(t, "a first delivery", func() bool { return len(w.passages()) > 0 })
	if restart {
		shipper.stop()
	}
	w.cut()
	cutMs := time.Now().UnixMilli()
	if restart {
		shipper = b.start("metrics-shipper")
	}
	b.age(backlog)
	await(t, "an outage of some rounds", func() bool {
		n, ok := b.number("SELECT max(timestamp_ms) FROM samples WHERE uploaded = 0")
		return ok && n > cutMs+4000
	})
	const moments = "SELECT timestamp_ms FROM samples JOIN series ON id = series_id WHERE uploaded = 0 AND metric_name = 'system.load1' AND timestamp_ms > "
	outage, err := query(b.db, moments+ms(cutMs)+" ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	before := len(w.passages())
	mendMs := time.Now().UnixMilli()
	w.mend()

	// The newest sample of the outage can be asked for while the backlog waits.
	newest := int64(0)
	await(t, "the present to be at the server", func() bool {
		get(vm.base + "/internal/force_flush")
		newest = newestLoad(t, vm.base)
		return newest > mendMs-2000
	})
	waiting, _ := b.number("SELECT count(*) FROM samples WHERE uploaded = 0 AND timestamp_ms < " + ago(time.Hour/2))
	t.Logf("%d ms after the link's return the server has the present; %d of %d of the backlog wait", time.Now().UnixMilli()-mendMs, waiting, backlog)
	if waiting < int64(backlog)/2 {
		t.Errorf("only %d of the backlog wait: too late to tell", waiting)
	}
	await(t, "some of the backlog to be sent", func() bool {
		n, ok := b.number("SELECT count(*) FROM samples WHERE uploaded = 1 AND timestamp_ms < " + ago(time.Hour/2))
		return ok && n > 0
	})
	collector.stop()

	// In the order of the wire: all moments of the outage come before anything old.
	var want []int64
	for at := range strings.FieldsSeq(outage) {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, n)
	}
	if len(want) < 2 {
		t.Fatalf("the outage has %d moments", len(want))
	}
	old := 0
	for _, p := range w.passages()[before:] {
		for _, s := range p.samples {
			if strings.HasPrefix(s.series, "backlog") {
				old++
				continue
			}
			if !slices.Contains(want, s.atMs) {
				continue
			}
			if old > 0 {
				t.Errorf("%s of %d ms before the link's return goes after %d of the backlog", s.series, mendMs-s.atMs, old)
			}
			if t.Failed() {
				return
			}
		}
	}
	shipper.stop()
	b.drain()
	if books, err := reckon(b.db); err != nil || books.Pending != 0 || books.Captured != books.Delivered || books.Delivered < int64(backlog) {
		t.Errorf("%+v %v", books, err)
	}
	mustBeThere(t, b.db, vm.base)
}

// age stores pending samples of the hours before, as an outage leaves them.
func (b *board) age(count int) {
	b.t.Helper()
	db, err := store.Open(b.t.Context(), b.db, store.Options{Device: "board-1", Synchronous: "NORMAL"})
	if err != nil {
		b.t.Fatal(err)
	}
	const series, slice = 20, 5000
	at := time.Now().Add(-10 * time.Hour).UnixMilli()
	tags := make([]string, series)
	for i := range tags {
		tags[i] = metric.Tags("n", string(rune('a'+i)))
	}
	for count > 0 {
		samples := make([]metric.Sample, 0, slice)
		for len(samples) < min(slice, count) {
			i := len(samples) % series
			if i == 0 {
				at += 2000
			}
			samples = append(samples, metric.Sample{Name: "backlog", Tags: tags[i], TimeMs: at, Value: float64(at % 1000003)})
		}
		count -= len(samples)
		if _, err := db.Record(b.t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func ms(at int64) string { return strconv.FormatInt(at, 10) }

// ago is a time before now, for a query.
func ago(d time.Duration) string { return ms(time.Now().Add(-d).UnixMilli()) }

// newestLoad is the time of the newest load that the server shows, 0 for none.
func newestLoad(t testing.TB, base string) (newest int64) {
	t.Helper()
	body, status := get(base + "/api/v1/export?match[]=system_load1")
	if status != 200 {
		return 0
	}
	for line := range strings.Lines(body) {
		var series struct{ Timestamps []int64 }
		if err := json.Unmarshal([]byte(line), &series); err != nil {
			t.Fatal(err)
		}
		for _, at := range series.Timestamps {
			newest = max(newest, at)
		}
	}
	return newest
}
