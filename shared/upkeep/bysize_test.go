package upkeep

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/status"
)

func TestTheSizeLimitHoldsThroughAnOutageAndDeletedSamplesAreCounted(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB = 2 })
	most := int64(0)
	for range 120 {
		f.collect(15)
		f.steps()
		most = max(most, f.total())
	}
	if most > 2*miB+100<<10 {
		t.Errorf("the files took %d bytes, bound %d", most, 2*miB)
	}
	if most < miB {
		t.Errorf("the files never took more than %d bytes of %d: too much is deleted", most, 2*miB)
	}
	l, lost := f.ledger()
	if lost[status.LostSizeLimit] == 0 || l.Lost != lost[status.LostSizeLimit] || l.Captured < 120*15*60 {
		t.Errorf("%+v, lost %v", l, lost)
	}
	// The lowest priority is gone before the next one is touched.
	by := [4]int64{}
	for p := range by {
		by[p] = f.count("SELECT count(*) FROM samples WHERE uploaded = 0 AND priority = ?", p)
	}
	if by[1] != 120*15*20 && by[2] != 0 || by[2] != 120*15*20 && by[3] > sliceOfSelf {
		t.Errorf("pending by priority: %v", by)
	}
	if !strings.Contains(f.log.String(), "are deleted and counted as lost") || !strings.Contains(f.log.String(), "samples were deleted to make room") {
		t.Errorf("log: %s", f.log.String())
	}
}

// sliceOfSelf is more than the samples that the keeper adds about the storage
// while a test runs.
const sliceOfSelf = 100

func TestDeliveredSamplesAreDeletedBeforePendingOnes(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.collect(150)
	f.deliver(6000) // the newest: the older ones are still on their way
	f.at = time.Now().UnixMilli()
	for f.count("SELECT count(*) FROM samples WHERE uploaded = 1") > 0 {
		if _, lost := f.ledger(); lost[status.LostSizeLimit] != 0 {
			t.Fatalf("lost while delivered samples were left: %v", lost)
		}
		f.collect(20)
		f.steps()
	}
	if f.settle == 0 {
		t.Error("the samples were not inside a settle window")
	}
}

func TestSamplesDeliveredLongAgoAreDeletedBeforeRecentOnes(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.at = time.Now().Add(-20 * time.Hour).UnixMilli()
	f.collect(100)
	f.deliver(100_000)
	f.exec(t, "UPDATE upload_checkpoints SET upload_time = upload_time - 48 * 3600000")
	border := time.Now().Add(-2 * 24 * time.Hour).UnixMilli()
	f.at = time.Now().Add(-5 * 24 * time.Hour).UnixMilli() // the backlog of an outage
	f.collect(100)
	f.deliver(100_000)
	f.at = time.Now().UnixMilli()
	for f.count("SELECT count(*) FROM samples WHERE uploaded = 1 AND timestamp_ms > ?", border) > 0 {
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1 AND timestamp_ms < ?", border); n != 6000 {
			t.Fatalf("%d are left of 6000 that were delivered just now, while something else is there", n)
		}
		f.collect(20)
		f.steps()
	}
}

func TestSamplesDeliveredDuringASweepAreDeletedBeforePendingOnes(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.collect(200)
	f.deliver(3000)
	fig, err := f.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.evicting, fig.reason = status.LostSizeLimit, status.LostSizeLimit
	for i := range 1000 {
		if i == 2 {
			f.deliver(5000) // of samples that the sweep has passed
		}
		before := f.count("SELECT count(*) FROM samples WHERE uploaded = 1")
		if _, err := f.evict(t.Context(), fig, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, lost := f.ledger(); lost[status.LostSizeLimit] > 0 {
			if before > 0 {
				t.Errorf("%v lost while %d were delivered", lost, before)
			}
			return
		}
	}
	t.Error("no sample was lost: the test is void")
}

func TestTheSizeLimitHoldsWhileSamplesAreDeliveredAllTheTime(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 1, 365*24*time.Hour })
	f.collect(700)
	for i := range 400 {
		if i%6 == 0 {
			f.deliver(10)
		}
		if _, err := f.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fig, err := f.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used := fig.room.Used(); used > fig.limit+fig.limit/64 {
		_, lost := f.ledger()
		t.Errorf("%d bytes are used, at most %d may be; %v", used, fig.limit, lost)
	}
}

func TestWithLittleSpaceTheFileShrinksAndKeepsAnEighth(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB = 8 })
	f.collect(2000)
	f.steps()
	before := f.total()
	if l, _ := f.ledger(); l.Lost != 0 || before < 3*miB {
		t.Fatalf("%+v, %d bytes", l, before)
	}
	f.cfg.MinFreeMB = 1 << 30 // more than any disk has
	for _, stamp := range []string{"20260101T000000.000Z", "20260102T000000.000Z", "20260103T000000.000Z"} {
		if err := os.WriteFile(f.path+".damaged-"+stamp, []byte("salvaged long ago"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	f.steps()
	if kept, err := repair.Kept(f.path); err != nil || len(kept) != 1 || !strings.HasSuffix(kept[0], "03T000000.000Z") {
		t.Errorf("kept %v, %v; want only the newest damaged file", kept, err)
	}
	after := f.total()
	if after > miB*5/4 || after < miB/2 {
		t.Errorf("the files have %d bytes, had %d; want about %d", after, before, miB)
	}
	_, lost := f.ledger()
	if lost[status.LostLowSpace] == 0 || lost[status.LostSizeLimit] != 0 {
		t.Errorf("lost %v", lost)
	}
	if d := f.detail(); d["free_bytes_short"] == nil || d["free_bytes"] == nil {
		t.Errorf("the status does not say it: %v", d)
	}
	f.cfg.MinFreeMB = 1
	f.steps()
	if d := f.detail(); d["free_bytes_short"] != nil {
		t.Errorf("the status still says it: %v", d)
	}
	f.collect(100)
	f.steps()
	if _, again := f.ledger(); again[status.LostLowSpace] != lost[status.LostLowSpace] {
		t.Errorf("lost with enough room: %v, before %v", again, lost)
	}
}
