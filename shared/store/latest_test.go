package store

import (
	"testing"

	"github.com/taniwha3/thugshells/shared/metric"
)

func TestLatestIsTheNewestOfEachSeriesInTheSpan(t *testing.T) {
	db := mustOpen(t, t.TempDir()+"/metrics.db")
	for _, at := range []int64{1000, 2000, 3000} {
		mustRecord(t, db, Update{Groups: []Group{{Samples: tick(at, 3)}}})
	}
	mustRecord(t, db, Update{Groups: []Group{{Samples: []metric.Sample{{Name: "old", TimeMs: 10, Value: 1}, {Name: "new", TimeMs: 9000, Value: 1}}}}})
	got, err := db.Latest(t.Context(), 1000, 2500, 100)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for i, l := range got {
		if l.TimeMs != 2000 || l.Name != "cpu.usage_percent" || l.Device != "board-1" || l.Value != float64(i)+0.125 {
			t.Errorf("%+v", l)
		}
	}
	if got, err := db.Latest(t.Context(), 0, 1e6, 2); err != nil || len(got) != 2 {
		t.Errorf("limited: %v, %v", got, err)
	}
}

// What a scrape of a board costs: six minutes of samples out of a day.
func BenchmarkLatest(b *testing.B) {
	db := mustOpen(b, b.TempDir()+"/metrics.db")
	const series, every = 100, 10_000
	for at := int64(0); at < 24*3600*1000/8; at += every { // three hours
		mustRecord(b, db, Update{Groups: []Group{{Samples: tick(at, series)}}})
	}
	for b.Loop() {
		if got, err := db.Latest(b.Context(), 3*3600*1000-6*60*1000, 3*3600*1000, 5000); err != nil || len(got) != series {
			b.Fatal(len(got), err)
		}
	}
}
