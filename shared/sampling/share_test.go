package sampling

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

// Others than the collector speak of themselves too; per minute: the storage's
// figures 1 and 4 in three minutes, the shipper 3, 5 in three minutes, 6 in ten,
// and the skew of the clock with each.
const othersPerHour = 60*1 + 20*4 + 60*3 + 20*5 + 6*6 + 60

func TestSelfMetricsAreATenthAtMost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	roots := hosttest.Roots(filepath.Join(hosttest.Unpack(t, "../../tests/fixtures/orangepi5plus.txtar"), "t0"))
	synctest.Test(t, func(t *testing.T) {
		all, err := collect.All(config.Default(), roots, "test")
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		r, db := mustSampler(t, &log, all...)
		for start := time.Now(); time.Since(start) < time.Hour; {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(next)
		}
		board, own := 0, othersPerHour
		for name, n := range pendingNames(t, db) {
			if strings.HasPrefix(name, "collector.") || strings.HasPrefix(name, "process.") {
				own += n
			} else {
				board += n
			}
		}
		t.Logf("in an hour %d samples of the board, %d of ourselves: %.1f %%", board, own, 100*float64(own)/float64(board+own))
		if own*10 > board+own {
			t.Errorf("%d of %d samples are about ourselves", own, board+own)
		}
		db.Close()
	})
}
