package sampling

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

var now2026 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func skewOf(boot string, at time.Duration, detail string) status.Row {
	return status.Row{Component: status.SkewRow, BootID: boot, SuccessBootMs: at.Milliseconds(), Detail: detail}
}

func TestWhichEvidenceConfirmsTheClock(t *testing.T) {
	no := func() (bool, error) { return false, nil }
	yes := func() (bool, error) { return true, nil }
	forbidden := func() (bool, error) { return false, errors.New("not permitted") }
	const minute = time.Minute
	for _, c := range []struct {
		name    string
		kernel  func() (bool, error)
		ship    bool
		touched time.Time // of timesyncd's file, zero for none
		skew    status.Row
		wall    time.Time
		stepped time.Duration
		want    string
	}{
		{"nothing", no, false, time.Time{}, status.Row{SuccessBootMs: -1}, now2026, 0, ""},
		{"the kernel", yes, false, time.Time{}, status.Row{SuccessBootMs: -1}, now2026, 0, "kernel"},
		{"the kernel, of a time before this program", yes, false, time.Time{}, status.Row{SuccessBootMs: -1}, time.Unix(100, 0), 0, ""},
		{"the operator, whatever the time", no, true, time.Time{}, status.Row{SuccessBootMs: -1}, time.Unix(100, 0), 0, "operator"},
		{"timesyncd, where asking the kernel is forbidden", forbidden, false, now2026.Add(-minute), status.Row{SuccessBootMs: -1}, now2026, 0, "timesyncd"},
		{"timesyncd, before this boot", forbidden, false, now2026.Add(-11 * minute), status.Row{SuccessBootMs: -1}, now2026, 0, ""},
		{"timesyncd, before the last step", forbidden, false, now2026.Add(-6 * minute), status.Row{SuccessBootMs: -1}, now2026, 5 * minute, ""},
		{"timesyncd, after the last step", forbidden, false, now2026.Add(-4 * minute), status.Row{SuccessBootMs: -1}, now2026, 5 * minute, "timesyncd"},
		{"timesyncd, ahead of the clock", forbidden, false, now2026.Add(time.Hour), status.Row{SuccessBootMs: -1}, now2026, 0, ""},
		{"the server", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":-300,"error_ms":500}`), now2026, 0, "server"},
		{"the server, at the limit of its error", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":2500,"error_ms":500}`), now2026, 0, "server"},
		{"the server disagrees", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":2501,"error_ms":500}`), now2026, 0, ""},
		{"the server, in an earlier boot", no, false, time.Time{}, skewOf("a", minute, `{"skew_ms":0}`), now2026, 0, ""},
		{"the server, before the last step", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":0}`), now2026, 2 * minute, ""},
		{"the server, never", no, false, time.Time{}, skewOf("b", -time.Millisecond, `{"skew_ms":0}`), now2026, 0, ""},
		{"the server, without a figure", no, false, time.Time{}, skewOf("b", minute, `{}`), now2026, 0, ""},
		{"the server, nonsense", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":"0"}`), now2026, 0, ""},
		{"the server, of a time before this program", no, false, time.Time{}, skewOf("b", minute, `{"skew_ms":0}`), time.Unix(100, 0), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newClock("b", c.ship, slog.New(slog.DiscardHandler))
			k.kernel, k.file, k.steppedAt = c.kernel, filepath.Join(t.TempDir(), "synchronized"), c.stepped
			if !c.touched.IsZero() {
				if err := os.WriteFile(k.file, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(k.file, c.touched, c.touched); err != nil {
					t.Fatal(err)
				}
			}
			k.update(status.Moment{Wall: c.wall, Boot: 10 * minute}, func() status.Row { return c.skew })
			if k.by != c.want || k.trusted != (c.want != "") {
				t.Errorf("trusted %v by %q, want %q", k.trusted, k.by, c.want)
			}
		})
	}
}

func TestTheNTPStateIsSeparateFromTrust(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name    string
		kernel  error // of asking it
		says    bool
		touched bool // timesyncd's file
		server  bool // confirms
		want    *bool
		by      string
	}{
		{"the kernel says yes", nil, true, false, false, &yes, "kernel"},
		{"only the server vouches", nil, false, false, true, &no, "server"},
		{"only the server vouches, and the kernel cannot be asked", errors.ErrUnsupported, false, false, true, nil, "server"},
		{"timesyncd, and the kernel cannot be asked", errors.ErrUnsupported, false, true, false, &yes, "timesyncd"},
		{"nothing", nil, false, false, false, &no, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, db := mustSampler(t, &strings.Builder{})
			r.clock = newClock("b", false, slog.New(slog.DiscardHandler))
			k := &r.clock
			k.kernel, k.file = func() (bool, error) { return c.says, c.kernel }, filepath.Join(t.TempDir(), "synchronized")
			if c.touched {
				if err := os.WriteFile(k.file, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(k.file, now2026, now2026); err != nil {
					t.Fatal(err)
				}
			}
			skew := status.Row{SuccessBootMs: -1}
			if c.server {
				skew = skewOf("b", time.Minute, `{"skew_ms":0}`)
			}
			stored := func() status.Clock {
				t.Helper()
				now := status.Moment{Wall: now2026, Boot: 10 * time.Minute}
				k.update(now, func() status.Row { return skew })
				if err := k.store(t.Context(), db, now); err != nil {
					t.Fatal(err)
				}
				rows, err := db.Statuses(t.Context())
				if err != nil || len(rows) != 1 {
					t.Fatal(rows, err)
				}
				d, err := status.Detail[status.Clock](rows[0])
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			if d := stored(); !same(d.NTP, c.want) || d.By != c.by {
				t.Errorf("stored %s", status.Text(d))
			}
			// What NTP says changes while the clock stays trusted.
			if was := k.trusted; was && c.kernel == nil {
				c.says = !c.says
				want := c.says || c.touched
				if d := stored(); !same(d.NTP, &want) || d.By != c.by {
					t.Errorf("then stored %s", status.Text(d))
				}
			}
		})
	}
}

func TestTrustHoldsUntilTheClockIsSet(t *testing.T) {
	kernel := true
	k := newClock("b", false, slog.New(slog.DiscardHandler))
	k.kernel, k.file = func() (bool, error) { return kernel, nil }, filepath.Join(t.TempDir(), "none")
	none := func() status.Row { return status.Row{SuccessBootMs: -1} }
	boot, offset := 10*time.Second, time.Duration(now2026.UnixNano())
	look := func(want bool, why string) {
		t.Helper()
		boot += 10 * time.Second
		k.update(status.Moment{Wall: time.Unix(0, int64(offset+boot)), Boot: boot}, none)
		if k.trusted != want {
			t.Errorf("%s: trusted %v", why, k.trusted)
		}
	}
	look(true, "the kernel says so")
	kernel = false
	look(true, "the time daemon was stopped")
	for range 100 { // 300 ms in all, and then 30 s
		offset += 3 * time.Millisecond
		look(true, "drifting")
	}
	for range 100 {
		offset += 300 * time.Millisecond
		look(true, "slewed")
	}
	offset += time.Hour
	look(false, "set, and nobody vouches")
	kernel = true
	look(true, "the kernel says so again")
	offset = 0
	look(false, "set to 1970")
	offset = time.Duration(now2026.UnixNano())
	look(true, "and back")
}

// hold gives the rounds a clock that nothing confirms.
func hold(r *Sampler, boot string) (kernel *bool) {
	kernel = new(bool)
	r.clock = newClock(boot, false, r.log)
	r.clock.kernel, r.clock.file = func() (bool, error) { return *kernel, nil }, "/nonexistent"
	return kernel
}

// A moment on a clock that was set to wall when the boot clock was 0.
func at(wall time.Time, boot time.Duration) status.Moment {
	return status.Moment{Wall: wall.Add(boot), Boot: boot}
}

func TestSamplesAreHeldUntilTheTimeIsKnown(t *testing.T) {
	var log strings.Builder
	r, db := mustSampler(t, &log, everyTen)
	if err := db.StartSession(t.Context(), store.Session{ID: "s", Start: time.Now(), Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		t.Fatal(err)
	}
	kernel := hold(r, "b")
	round := func(m status.Moment) {
		t.Helper()
		if _, err := r.collectAt(t.Context(), r.all, m); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= 3; i++ {
		round(at(time.Unix(0, 0), time.Duration(i)*10*time.Second))
	}
	l, err := storetest.Audit(t.Context(), db)
	if err != nil || l.Held == 0 || l.Pending != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	*kernel = true
	round(at(now2026, 40*time.Second))
	l, err = storetest.Audit(t.Context(), db)
	if err != nil || l.Held != 0 || l.Pending != l.Captured {
		t.Errorf("%+v, %v\n%s", l, err, log.String())
	}
	rows, err := storetest.Newest(t.Context(), db, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var times []string
	for _, row := range rows {
		if row.Series.Name == "a" {
			times = append(times, fmt.Sprint(row.TimeMs-now2026.UnixMilli()))
		}
	}
	if got := strings.Join(times, " "); got != "40000 30000 20000 10000" {
		t.Errorf("the samples are at %s ms", got)
	}
	if n := strings.Count(log.String(), "clock is not trusted"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "released=") {
		t.Errorf("the release was not said:\n%s", log.String())
	}
}

func TestSamplesThatWaitedInMemoryGetTheRightTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var log strings.Builder
	r, db := mustSampler(t, &log, everyTen)
	if err := db.StartSession(t.Context(), store.Session{ID: "s", Start: time.Now(), Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		t.Fatal(err)
	}
	kernel := hold(r, "b")
	path := db.Path()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil { // so that nothing can be opened
		t.Fatal(err)
	}
	store1 := func(m status.Moment, ok bool) {
		t.Helper()
		if _, err := r.collectAt(t.Context(), r.all, m); (err == nil) != ok {
			t.Fatalf("at %v: %v", m.Boot, err)
		}
	}
	store1(at(time.Unix(0, 0), 10*time.Second), false)   // not trusted
	store1(at(time.Unix(900, 0), 20*time.Second), false) // not trusted either
	*kernel = true
	store1(at(now2026, 30*time.Second), false) // trusted
	*kernel = false
	store1(at(now2026.Add(time.Hour), 40*time.Second), false) // set wrong: not trusted
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	store1(at(now2026.Add(time.Hour), 50*time.Second), true)
	if n := pendingNames(t, db)["a"]; n != 3 {
		t.Errorf("%d are pending, want the 3 that got their time while the clock was trusted", n)
	}
	*kernel = true
	store1(at(now2026, 60*time.Second), true)
	if l, err := storetest.Audit(t.Context(), db); err != nil || l.Held != 0 || l.Lost != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	rows, err := storetest.Newest(t.Context(), db, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var times []string
	for _, row := range rows {
		if row.Series.Name == "a" {
			times = append(times, fmt.Sprint(row.TimeMs-now2026.UnixMilli()))
		}
	}
	if got := strings.Join(times, " "); got != "60000 50000 40000 30000 20000 10000" {
		t.Errorf("the samples are at %s ms\n%s", got, log.String())
	}
}

func TestARestartWithinTheBootDetectsAClockStepThatItMissed(t *testing.T) {
	var log strings.Builder
	r, db := mustSampler(t, &log, everyTen)
	if err := db.StartSession(t.Context(), store.Session{ID: "s", Start: time.Now(), Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		t.Fatal(err)
	}
	*hold(r, "b") = true
	if _, err := r.collectAt(t.Context(), r.all, at(now2026, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		boot string
		wall time.Time
		want bool
	}{
		{"nothing changed", "b", now2026, true},
		{"set meanwhile", "b", now2026.Add(time.Hour), false},
		{"another boot", "c", now2026, false},
	} {
		r2 := New(db, r2all(r), status.Daemon{Name: "metrics-collector", BootID: c.boot}, "hold", r.log)
		r2.clock.kernel, r2.clock.file = func() (bool, error) { return false, nil }, "/nonexistent"
		if err := r2.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		r2.clock.update(at(c.wall, 20*time.Second), func() status.Row { return status.Row{SuccessBootMs: -1} })
		if r2.clock.trusted != c.want {
			t.Errorf("%s: trusted %v", c.name, r2.clock.trusted)
		}
	}
}

func r2all(r *Sampler) (all []collect.Scheduled) {
	for _, a := range r.all {
		all = append(all, a.Scheduled)
	}
	return all
}

// Where the machine's own clock is not known to be right, and nothing else says
// so, real rounds hold; the boot clock is real here.
func TestARoundUsesTheRealBootClock(t *testing.T) {
	if _, err := hostfs.BootTime(); err != nil {
		t.Skip(err)
	}
	var log strings.Builder
	r, db := mustSampler(t, &log, everyTen)
	hold(r, "b")
	if _, err := r.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l, err := storetest.Audit(t.Context(), db); err != nil || l.Held == 0 || l.Pending != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

var everyTen = collect.Scheduled{Collector: good("a"), Name: "a", Interval: 10 * time.Second, Priority: 2}
