package sampling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// TestACollectorWithNothingToReadIsNotReported: a machine without modems
// pays for no series about the collector of modems, until one is plugged in.
func TestACollectorWithNothingToReadIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		plugged := false
		modem := every(10*time.Second, "modem", collectFunc(func(now time.Time) ([]metric.Sample, error) {
			if !plugged {
				return nil, collect.ErrNoData
			}
			return good("modem")(now)
		}))
		modem.Optional = true
		r, db := mustSampler(t, &log, modem, every(10*time.Second, "first", collectFunc(func(time.Time) ([]metric.Sample, error) {
			return nil, collect.ErrNoData
		})))
		about := func(collector string) int {
			rows, err := storetest.Newest(t.Context(), db, 100000)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, row := range rows {
				if strings.Contains(row.Series.Tags, `"`+collector+`"`) {
					n++
				}
			}
			return n
		}
		run := func(d time.Duration) {
			for begun := time.Now(); time.Since(begun) < d; {
				next, err := r.Round(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(next)
			}
		}
		// Health expects an answer as seldom as it runs.
		due := func() int64 {
			for _, a := range r.all {
				if a.Name == "modem" {
					return a.component.Row().IntervalMs
				}
			}
			return 0
		}
		run(15 * time.Minute)
		if due() != 30_000 {
			t.Errorf("one that is absent is due every %d ms", due())
		}
		if about("modem") != 0 || about("first") == 0 {
			t.Errorf("%d samples about one that is absent, %d about one that may never be", about("modem"), about("first"))
		}
		plugged = true
		run(15 * time.Minute)
		if about("modem") == 0 {
			t.Error("no samples about one that came")
		}
		if due() != 10_000 {
			t.Errorf("one that came is due every %d ms", due())
		}
		if strings.Contains(log.String(), "could not read") {
			t.Errorf("a warning: %s", log.String())
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
