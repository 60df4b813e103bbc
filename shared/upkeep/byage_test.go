package upkeep

import (
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

func TestNothingAgesByAClockThatIsNotTrusted(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		f := newFixture(t, func(c *config.Config) { c.Storage.Retention, c.Remote.Settle = 168*time.Hour, 24*time.Hour })
		f.at = time.Now().Add(-time.Hour).UnixMilli()
		f.collect(10)
		f.deliver(600)
		f.bootID = "boot"
		ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
		if _, err := f.db.RecordClock(t.Context(), store.Clock{Now: status.Moment{Wall: ahead, Boot: time.Hour}, BootID: "boot", Trusted: trusted, By: map[bool]string{true: "kernel"}[trusted]}); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			var err error
			if more, err = f.age(t.Context(), ahead); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); trusted != (n == 0) {
			t.Errorf("trusted %v: %d of 600 are left", trusted, n)
		}
	}
}

func TestOldDeliveredSamplesGoAndUndeliveredStay(t *testing.T) {
	for _, c := range []struct {
		name              string
		retention, settle time.Duration
		want              int64 // delivered rows left
	}{
		{"retention", time.Hour, 0, 0},
		{"settling", time.Hour, 60 * 24 * time.Hour, 600},
		{"young", 60 * 24 * time.Hour, 0, 600},
		{"old when they were delivered", time.Hour, time.Minute, 600},
	} {
		f := newFixture(t, func(cfg *config.Config) {
			cfg.Storage.Retention, cfg.Remote.Settle = c.retention, c.settle
		})
		f.collect(10)
		f.deliver(600)
		f.collect(10)
		f.steps()
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != c.want {
			t.Errorf("%s: %d delivered samples are left, want %d", c.name, n, c.want)
		}
		if l, _ := f.ledger(); l.Pending < 600 || l.Lost != 0 || l.Delivered != 600 {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}

func TestAChunkOfOldAndYoungSamplesSettlesBeforeAnyGoes(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.Retention, c.Remote.Settle = 168*time.Hour, 24*time.Hour })
	for _, days := range []time.Duration{8, 6} {
		f.at = time.Now().Add(-days * 24 * time.Hour).UnixMilli()
		f.collect(5)
	}
	f.deliver(600)
	f.trimmable(t, 10)
	f.steps()
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != 600 {
		t.Errorf("%d of 600 samples are left that were delivered just now", n)
	}
	if n := f.count("SELECT count(*) FROM sessions"); n != 1000 {
		t.Errorf("%d sessions are kept while deliveries are late", n)
	}
	// The same chunk, delivered two days ago.
	f.exec(t, "UPDATE upload_checkpoints SET upload_time = upload_time - 48 * 3600000")
	f.ageDue, f.wholeDue = time.Time{}, time.Time{}
	f.steps()
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != 300 {
		t.Errorf("%d samples are left once they have settled, want those of 6 days", n)
	}
}
