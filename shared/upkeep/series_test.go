package upkeep

import (
	"fmt"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// churn stores one sample of each of n names that were never seen before, and
// one of a name that is always there.
func (f *fixture) churn(first, n int) {
	f.t.Helper()
	f.at = time.Now().UnixMilli()
	samples := []metric.Sample{{Name: "system.load1", TimeMs: f.at, Value: 1}}
	for i := range n {
		samples = append(samples, metric.Sample{
			Name: "network.rx_bytes_total", Tags: metric.Tags("interface", fmt.Sprintf("enx%012x", first+i)), TimeMs: f.at, Value: float64(first + i),
		})
	}
	if _, err := f.db.Record(f.t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
		f.t.Fatal(err)
	}
}

// bounded fails if the files have outgrown the limit.
func (f *fixture) bounded(names int) {
	f.t.Helper()
	if total := f.total(); total > int64(f.cfg.MaxSizeMB)*miB {
		f.t.Fatalf("after %d names the files have %d bytes of %d", names, total, int64(f.cfg.MaxSizeMB)*miB)
	}
}

func TestTwoHundredThousandNamesGoThroughASmallDatabase(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes half a minute; make test runs it without the race detector")
	}
	const names, each = 200_000, 200
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 4, 7*24*time.Hour })
	most := int64(0)
	for n := 0; n < names; n += each {
		f.churn(n, each)
		f.deliver(each + 1)
		f.steps()
		f.bounded(n)
		most = max(most, f.series.use.Count)
	}
	l, lost := f.ledger()
	if l.Lost != 0 {
		t.Errorf("lost %v although all was delivered at once", lost)
	}
	if n := f.count("SELECT count(*) FROM series"); n > most || most > 5000 {
		t.Errorf("%d series are left, there were at most %d", n, most)
	}
	if n := f.count("SELECT count(*) FROM samples WHERE series_id NOT IN (SELECT id FROM series)"); n != 0 {
		t.Errorf("%d samples have no series", n)
	}
	if n := f.count("SELECT count(*) FROM series"); n != f.series.use.Count {
		t.Errorf("%d series, counted %d", n, f.series.use.Count)
	}
}

func TestNewNamesDuringAnOutageAreRejectedAndDisplaceNoSample(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 4, 7*24*time.Hour })
	for n := 0; n < 20_000; n += 200 {
		f.churn(n, 200)
		f.steps()
		f.bounded(n)
	}
	_, lost := f.ledger()
	if len(lost) != 1 || lost[status.LostSeriesLimit] == 0 {
		t.Fatalf("lost %v, want only what was refused", lost)
	}
	if known := f.count("SELECT count(*) FROM samples JOIN series ON series.id = series_id WHERE metric_name = 'system.load1'"); known != 100 {
		t.Errorf("%d samples of the series that is always there, want 100", known)
	}
	if d := f.detail(); d["series_full_since_ms"] == nil || d["series_limit"] == nil {
		t.Errorf("the status does not say it: %v", d)
	}
	// The server is there again: all is delivered, and new names are welcome.
	for f.count("SELECT count(*) FROM samples WHERE uploaded = 0") > 0 {
		f.deliver(2500)
	}
	f.series.retry = time.Now().Add(-time.Second)
	f.steps()
	before := lost[status.LostSeriesLimit]
	f.churn(1_000_000, 200)
	if _, lost := f.ledger(); lost[status.LostSeriesLimit] != before {
		t.Errorf("%d of 200 new names were refused after the outage", lost[status.LostSeriesLimit]-before)
	}
}

func TestTheNumberOfSeriesStaysWithinItsLimit(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSeries, c.Storage.Retention = 1000, 7*24*time.Hour })
	for n := 0; n < 10_000; n += 50 {
		f.churn(n, 50)
		f.deliver(60)
		f.steps()
	}
	if n := f.count("SELECT count(*) FROM series"); n > 1000 || n < 500 {
		t.Errorf("%d series, limit 1000", n)
	}
	if l, lost := f.ledger(); l.Lost != 0 {
		t.Errorf("lost %v", lost)
	}
}

func TestRejectedSamplesGoBeforeNewNamesAreRefused(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSeries = 1000 })
	for n := 0; n < 5_000; n += 100 {
		f.churn(n, 100)
		rows, err := storetest.Newest(t.Context(), f.db, 101)
		if err != nil {
			t.Fatal(err)
		}
		var bad []store.Rejection
		for _, r := range rows {
			bad = append(bad, store.Rejection{Row: r, HTTPStatus: 400, Reason: "no", Words: "no"})
		}
		if _, err := f.db.Reject(t.Context(), bad, time.Now(), store.Update{}); err != nil {
			t.Fatal(err)
		}
		f.series.retry = time.Time{}
		f.steps()
	}
	l, lost := f.ledger()
	if l.Rejected < 100 || lost[status.LostSeriesLimit] == 0 || len(lost) != 1 {
		t.Errorf("%+v, lost %v", l, lost)
	}
	if n := f.count("SELECT count(*) FROM rejected WHERE NOT EXISTS (SELECT 1 FROM series WHERE id = series_id)"); n != 0 {
		t.Errorf("%d rejected samples have no series", n)
	}
}

func TestASeriesWithoutSamplesIsForgottenOnAQuietBoard(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.Retention, c.Remote.Settle = time.Hour, 0 })
	f.collect(10) // a month ago
	f.deliver(600)
	f.churn(0, 1)
	f.deliver(10)
	f.steps()
	if n := f.count("SELECT count(*) FROM series"); n != 2+f.count("SELECT count(*) FROM series WHERE metric_name LIKE 'storage.%'") {
		t.Errorf("%d series, want the 2 that have samples, and those of the upkeep itself", n)
	}
}
