package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal/journaltest"
	"github.com/taniwha3/thugshells/shared/metric"
)

const relayTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  501: 00000000:2328 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21371 2 0000000000000000 199
  777: 0100007F:C350 0100007F:2328 01 00000000:00000000 00:00000000 00000000     0        0 21372 2 0000000000000000 5
`

// A stage is a journal and what is beside it.
type stage struct {
	t       testing.TB
	dir     string
	roots   hostfs.Roots
	cfg     config.MetricConfig
	entries []journaltest.Entry
}

func newStage(t testing.TB) *stage {
	dir := t.TempDir()
	s := &stage{t: t, dir: dir, roots: hostfs.Roots{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}}
	s.cfg = config.DefaultMetricConfig("stream.events")
	s.cfg.Journal = filepath.Join(dir, "journal")
	s.relay(true)
	return s
}

func (s *stage) write(path, text string) {
	s.t.Helper()
	path = filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// relay says whether the sender listens.
func (s *stage) relay(on bool) {
	table := relayTable
	if !on {
		table = strings.Join(strings.SplitAfter(relayTable, "\n")[:1], "")
	}
	s.write("proc/net/udp", table)
}

// log appends lines to the journal, as a file that grows.
func (s *stage) log(entries ...journaltest.Entry) {
	s.t.Helper()
	s.entries = append(s.entries, entries...)
	b := journaltest.Bytes(true, s.entries)
	path := filepath.Join(s.cfg.Journal, "system.journal")
	if err := os.MkdirAll(s.cfg.Journal, 0o755); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) // the same file, as journald has it
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// clockOf is this machine's boot, with a wall clock of our own.
func clockOf(t testing.TB, wall time.Time, trusted bool) Moment {
	t.Helper()
	boot, err := hostfs.BootTime()
	if err != nil {
		t.Fatal(err)
	}
	return Moment{Wall: wall, Boot: boot, BootID: bootDashed, ClockTrusted: trusted}
}

const (
	bootHex    = "0123456789abcdef0123456789abcdef"
	bootDashed = "01234567-89ab-cdef-0123-456789abcdef"
)

// at is a line of belaUI's, written some time ago on this boot.
func (s *stage) at(now Moment, ago time.Duration, fields ...string) journaltest.Entry {
	monotonic, err := hostfs.MonotonicTime()
	if err != nil {
		s.t.Fatal(err)
	}
	return journaltest.Entry{
		Realtime: now.Wall.Add(-ago).UnixMicro(), Monotonic: (monotonic - ago).Microseconds(), Boot: bootHex, Fields: fields,
	}
}

func belaUI(line string) []string {
	return []string{"_SYSTEMD_UNIT=belaUI.service", "_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=belaUI", "MESSAGE=" + line}
}

func observe(t testing.TB, c *streamEvents, now Moment) Observation {
	t.Helper()
	o, err := c.Observe(now)
	if err != nil && !errors.Is(err, ErrNoData) {
		t.Fatal(err)
	}
	return o
}

// last is the last value of a series in an observation.
func last(o Observation, name, tags string) (v float64, at int64, ok bool) {
	for _, s := range append(slices.Clone(o.Earlier.Samples), o.Samples...) {
		if s.Name == name && (tags == "*" || s.Tags == tags) {
			v, at, ok = s.Value, s.TimeMs, true
		}
	}
	return v, at, ok
}

func wantLast(t *testing.T, o Observation, name, tags string, want float64) {
	t.Helper()
	if v, _, ok := last(o, name, tags); !ok || v != want {
		t.Errorf("%s%s is %v (there: %v), want %v", name, tags, v, ok, want)
	}
}

// TestTheFixturesJournalsCountAsExpected plays each export as it would come while
// the collector runs.
func TestTheFixturesJournalsCountAsExpected(t *testing.T) {
	dir := fixtureTree(t)
	text, err := os.ReadFile(filepath.Join(dir, "encoder", "journal", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		Events, Kernel                     map[string]float64
		UnitsFailed                        map[string]float64 `json:"units_failed"`
		UnitRestarts                       map[string]float64 `json:"unit_restarts"`
		NegotiatedLatencyMs, MaxBitrateBps float64
		Latency                            float64 `json:"negotiated_latency_ms"`
		Bitrate                            float64 `json:"max_bitrate_bps"`
		StreamingAfter                     *bool   `json:"streaming_after"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	tags := func(inside string, key string) []string {
		pairs := []string{key, inside}
		name, rest, found := strings.Cut(inside, "{")
		if found {
			pairs[1] = name
			k, v, _ := strings.Cut(strings.TrimSuffix(rest, "}"), "=")
			pairs = append(pairs, k, v)
		}
		return pairs
	}
	for file, e := range expected {
		for _, env := range journaltest.Formats {
			t.Run(file+" "+strings.Join(env, " "), func(t *testing.T) {
				s := newStage(t)
				path := filepath.Join(s.cfg.Journal, "system.journal")
				journaltest.Write(t, path, journaltest.Export(1795430000000000, 1, bootHex, "MESSAGE=before"), env...)
				export, err := os.ReadFile(filepath.Join(dir, "encoder", "journal", file))
				if err != nil {
					t.Fatal(err)
				}
				c := newStreamEvents(s.roots, s.cfg)
				now := Moment{Wall: time.UnixMilli(1795430500000), BootID: "another", ClockTrusted: true}
				first := observe(t, c, now)
				journaltest.Write(t, path, string(export), env...)
				now.Wall = now.Wall.Add(5 * time.Second)
				o := observe(t, c, now)
				counted := 0.0
				for k, n := range e.Events {
					wantLast(t, o, eventsTotal, metric.Tags(tags(k, "event")...), n)
					counted += n
				}
				for k, n := range e.Kernel {
					wantLast(t, o, kernelTotal, metric.Tags(tags(k, "event")...), n)
					counted += n
				}
				for k, n := range e.UnitsFailed {
					wantLast(t, o, failuresTotal, metric.Tags(tags(k, "unit")...), n)
					counted += n
				}
				for k, n := range e.UnitRestarts {
					wantLast(t, o, restartsTotal, metric.Tags(tags(k, "unit")...), n)
					counted += n
				}
				total := 0.0
				for _, k := range o.Counts {
					if k.Name == eventsTotal || k.Name == kernelTotal || k.Name == failuresTotal || k.Name == restartsTotal {
						total += k.Value
					}
				}
				if total != counted {
					t.Errorf("%v events were counted, %v are expected", total, counted)
				}
				if e.Latency > 0 {
					wantLast(t, o, "stream.latency_ms", "", e.Latency)
					wantLast(t, o, "stream.bitrate_max_bps", "", e.Bitrate)
				}
				wantLast(t, first, "stream.active", "", 0)
				if e.StreamingAfter != nil && *e.StreamingAfter != c.state.Connected {
					t.Errorf("connected %v at the end, want %v", c.state.Connected, *e.StreamingAfter)
				}
			})
		}
	}
}

func fixtureTree(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("METRICS_FIXTURES")
	if dir == "" {
		t.Skip("METRICS_FIXTURES names no directory of captured files")
	}
	return dir
}

func TestTheStreamIsOnWhileItIsConnectedAndTheRelayListens(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	wall := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	now := func(second int) Moment { return clockOf(t, wall.Add(time.Duration(second)*time.Second), true) }
	s.log(s.at(now(0), time.Hour, belaUI("hello")...))
	wantLast(t, observe(t, c, now(0)), "stream.active", "", 0)
	s.log(s.at(now(4), 0, belaUI("SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms")...))
	wantLast(t, observe(t, c, now(5)), "stream.active", "", 1)
	// A link that fails ends nothing.
	s.log(s.at(now(8), 0, belaUI("10.0.0.2 (0x55e8): connection failed, attempting to reconnect")...))
	o := observe(t, c, now(10))
	if _, _, said := last(o, "stream.active", ""); said {
		t.Error("nothing changed, and it is said again at once")
	}
	if !o.Wait || !o.Keep {
		t.Error("a link's failure is stored at once, by itself")
	}
	wantLast(t, observe(t, c, now(35)), "stream.active", "", 1)
	// The operator stops it: nothing is printed.
	s.relay(false)
	o = observe(t, c, now(40))
	wantLast(t, o, "stream.active", "", 0)
	if o.Wait {
		t.Error("the end of the stream is not stored at once")
	}
	s.relay(true)
	wantLast(t, observe(t, c, now(45)), "stream.active", "", 1)
	s.log(s.at(now(48), 0, belaUI("Gstreamer pipeline: videotestsrc")...)) // it starts again
	wantLast(t, observe(t, c, now(50)), "stream.active", "", 0)
	// Another boot knows nothing of it.
	s.log(s.at(now(54), 0, belaUI("SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms")...))
	wantLast(t, observe(t, c, now(55)), "stream.active", "", 1)
	rebooted := s.at(now(59), 0, "_TRANSPORT=kernel", "MESSAGE=Linux version 6.1")
	rebooted.Boot = "aaaaaaaa89abcdef0123456789abcdef"
	s.log(rebooted)
	wantLast(t, observe(t, c, now(60)), "stream.active", "", 0)
}

func TestTheFirstStartReportsTheStateAndCountsNothing(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	now := clockOf(t, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), true)
	s.log(s.at(now, time.Minute, belaUI("SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms")...))
	o := observe(t, c, now)
	wantLast(t, o, "stream.active", "", 1)
	wantLast(t, o, "stream.latency_ms", "", 2000)
	wantLast(t, o, eventsTotal, metric.Tags("event", srtConnected), 0)
	if len(o.Events) != 0 || !o.Keep {
		t.Errorf("%d events, keep %v", len(o.Events), o.Keep)
	}
}

// TestCountsContinueFromTheirStoredValues kills and restarts after every line: what was
// stored is not counted again, and nothing is left out.
func TestCountsContinueFromTheirStoredValues(t *testing.T) {
	s := newStage(t)
	wall := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s.log(s.at(clockOf(t, wall, true), time.Hour, belaUI("hello")...))
	kept := LastRun{ClockTrusted: true}
	tags := metric.Tags("event", "link_failed", "link", "10.0.0.2")
	for i := range 20 {
		wall = wall.Add(5 * time.Second)
		now := clockOf(t, wall, true)
		c := newStreamEvents(s.roots, s.cfg)
		c.Restore(kept)
		o := observe(t, c, now)
		if i%3 != 2 { // else it is killed before anything is stored
			state, err := json.Marshal(o.State)
			if err != nil {
				t.Fatal(err)
			}
			if kept.State = string(state); o.Counts != nil {
				kept.Counts = o.Counts
			}
		}
		s.log(s.at(now, 0, belaUI("10.0.0.2 (0x55e8): connection failed, attempting to reconnect")...))
	}
	c := newStreamEvents(s.roots, s.cfg)
	c.Restore(kept)
	o := observe(t, c, clockOf(t, wall.Add(5*time.Second), true))
	wantLast(t, o, eventsTotal, tags, 20)
}

func TestEventsHaveTheirOwnTimesAlsoWhenReadLate(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	wall := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	now := clockOf(t, wall, true)
	s.log(s.at(now, time.Hour, belaUI("hello")...))
	kept := LastRun{ClockTrusted: true}
	o := observe(t, c, now)
	state, _ := json.Marshal(o.State)
	kept.State, kept.Counts = string(state), o.Counts

	// The collector was away for an hour.
	wall = wall.Add(time.Hour)
	now = clockOf(t, wall, true)
	ago := 40 * time.Minute
	failed := s.at(now, ago, belaUI("10.0.0.2 (0x55e8): connection failed, attempting to reconnect")...)
	wrong := s.at(now, ago/2, "_TRANSPORT=kernel", "MESSAGE=usb 3-1: USB disconnect, device number 4")
	wrong.Realtime -= (2000 * time.Hour).Microseconds() // written before the clock was set
	earlier := journaltest.Entry{
		Realtime: wall.Add(-3 * time.Hour).UnixMicro(), Monotonic: 5, Boot: "ffffffffffffffffffffffffffffffff",
		Fields: []string{"_TRANSPORT=kernel", "MESSAGE=mmc0: Timeout waiting for hardware interrupt."},
	}
	never := earlier
	never.Realtime = time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC).UnixMicro()
	s.log(earlier, never, failed, wrong)
	c = newStreamEvents(s.roots, s.cfg)
	c.Restore(kept)
	o = observe(t, c, now)

	link := metric.Tags("event", "link_failed", "link", "10.0.0.2")
	wantLast(t, o, eventTime, link, float64(wall.Add(-ago).UnixMilli()/10)/100)
	if _, at, _ := last(o, eventTime, link); at != wall.Add(-ago).UnixMilli() {
		t.Errorf("said for %d", at)
	}
	usb, at, _ := last(o, eventTime, metric.Tags("event", "usb_disconnect"))
	if want := wall.Add(-ago / 2); max(usb-float64(want.Unix()), float64(want.Unix())-usb) > 1 || at/1000 != int64(usb) {
		t.Errorf("the USB device went at %v, want %v", usb, want.Unix())
	}
	if v, at, _ := last(Observation{Earlier: o.Earlier}, eventTime, metric.Tags("event", "mmc_error")); v != float64(wall.Add(-3*time.Hour).Unix()) || at != int64(v)*1000 {
		t.Errorf("the card failed at %v (%d)", v, at)
	}
	// Counted twice, also the one whose time is not known.
	wantLast(t, Observation{Samples: o.Samples}, kernelTotal, metric.Tags("event", "mmc_error"), 2)
	if len(o.Events) != 2 || len(o.Earlier.Events) != 1 {
		t.Errorf("%d events and %d of earlier boots", len(o.Events), len(o.Earlier.Events))
	}
}

func TestTheTimeOfAnEventWaitsForTheClock(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	wrong := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	right := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	now := clockOf(t, wrong, false)
	s.log(s.at(now, time.Second, belaUI("hello")...))
	observe(t, c, now)
	s.log(s.at(now, 0, belaUI("The SRT connection failed, exiting")...))
	now = clockOf(t, wrong.Add(5*time.Second), false)
	o := observe(t, c, now)
	tags := metric.Tags("event", srtFailed)
	wantLast(t, o, eventsTotal, tags, 1)
	if _, _, said := last(o, eventTime, tags); said {
		t.Error("a time of a clock that is not trusted is said")
	}
	later := clockOf(t, right, true)
	o = observe(t, c, later)
	v, at, _ := last(o, eventTime, tags)
	if v < float64(right.Unix())-30 || v > float64(right.Unix()) || at/1000 != int64(v) {
		t.Errorf("the event was at %v (%d), want just before %d", v, at, right.Unix())
	}
	// What comes after the clock was set is not kept behind the wrong time.
	s.log(s.at(later, 0, belaUI("The SRT connection failed, exiting")...))
	o = observe(t, c, clockOf(t, right.Add(5*time.Second), true))
	if v, at, _ := last(o, eventsTotal, tags); v != 2 || at < right.UnixMilli()-1000 || at > right.Add(6*time.Second).UnixMilli() {
		t.Errorf("counter %v at %d", v, at)
	}
}

func TestCountersNeverGoBackInTime(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	wall := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s.log(s.at(clockOf(t, wall, true), time.Hour, belaUI("hello")...))
	type point struct {
		at int64
		v  float64
	}
	points := map[string][]point{}
	for i := range 300 {
		now := clockOf(t, wall.Add(time.Duration(i)*5*time.Second), true)
		if i%4 == 1 { // read late: the heartbeat of the counters comes between
			s.log(s.at(now, 7*time.Second, belaUI("The SRT connection failed, exiting")...),
				s.at(now, 7*time.Second, belaUI("10.0.0.2 (0x1): sendto() failed, disabling the connection")...),
				s.at(now, 6990*time.Millisecond, belaUI("10.0.0.2 (0x1): sendto() failed, disabling the connection")...))
		}
		for _, sample := range observe(t, c, now).Samples {
			if strings.HasSuffix(sample.Name, "_total") {
				points[sample.Name+sample.Tags] = append(points[sample.Name+sample.Tags], point{sample.TimeMs, sample.Value})
			}
		}
	}
	for name, all := range points {
		if all[0].v != 0 {
			t.Errorf("%s begins at %v", name, all[0].v)
		}
		for i := 1; i < len(all); i++ {
			if all[i].at <= all[i-1].at || all[i].v < all[i-1].v {
				t.Errorf("%s: %v after %v", name, all[i], all[i-1])
			}
		}
	}
	if n := points[eventsTotal+metric.Tags("event", srtFailed)]; len(n) < 75 || n[len(n)-1].v != 75 {
		t.Errorf("%d points", len(n))
	}
}

func TestAFloodOfOneEventIsCountedAndWrittenDownOnce(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	now := clockOf(t, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), true)
	s.log(s.at(now, time.Hour, belaUI("hello")...))
	observe(t, c, now)
	for i := range 1500 {
		s.entries = append(s.entries, s.at(now, -time.Duration(i)*3*time.Millisecond, belaUI("10.0.0.2 (0x1): sendto() failed, disabling the connection")...))
	}
	s.log()
	now = clockOf(t, now.Wall.Add(5*time.Second), true)
	o := observe(t, c, now)
	wantLast(t, o, eventsTotal, metric.Tags("event", "link_send_failed", "link", "10.0.0.2"), 1500)
	if len(o.Samples) > 40 || len(o.Events) != 1 {
		t.Errorf("%d samples and %d events", len(o.Samples), len(o.Events))
	}
}

func TestSeriesOfEventsAreBounded(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	now := clockOf(t, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), true)
	s.log(s.at(now, time.Hour, belaUI("hello")...))
	observe(t, c, now)
	for i := range 300 {
		s.entries = append(s.entries,
			s.at(now, 0, belaUI(fmt.Sprintf("10.0.%d.2 (0x1): connection established", i%256))...),
			s.at(now, 0, "_TRANSPORT=journal", "_PID=1", "MESSAGE_ID="+idFailed, fmt.Sprintf("UNIT=u%d.service", i), fmt.Sprintf("UNIT_RESULT=r%d", i)))
	}
	s.log()
	now.Wall = now.Wall.Add(5 * time.Second)
	o := observe(t, c, now)
	links, units := map[string]bool{}, map[string]bool{}
	for k := range c.counts.all {
		links[k.link], units[k.unit] = true, true
	}
	if len(links)-1 != maxLinks || len(units)-1 != maxEventUnits {
		t.Errorf("%d links and %d units", len(links)-1, len(units)-1)
	}
	if c.counts.dropped != float64(256-maxLinks+44-min(44, maxLinks)+300-maxEventUnits) {
		t.Errorf("%v dropped", c.counts.dropped)
	}
	if len(o.Samples) > 200 {
		t.Errorf("%d samples", len(o.Samples))
	}
}

func TestWithoutAJournalThereIsNothingToReport(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	now := clockOf(t, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), true)
	for range 3 {
		if o, err := c.Observe(now); !errors.Is(err, ErrNoData) || Failed(err) != 0 || len(o.Samples) != 0 {
			t.Errorf("%d samples, %v", len(o.Samples), err)
		}
	}
	s.log(s.at(now, time.Hour, belaUI("hello")...))
	wantLast(t, observe(t, c, now), "stream.active", "", 0)
	// One that cannot be read is a failed reading, and there is no stream.active.
	if err := os.WriteFile(filepath.Join(s.cfg.Journal, "system.journal"), []byte("noise"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := c.Observe(now)
	if Failed(err) != 1 {
		t.Errorf("%d failed readings: %v", Failed(err), err)
	}
	if _, _, said := last(o, "stream.active", ""); said {
		t.Error("stream.active without a readable journal")
	}
}

func TestMessagesOfOtherProgramsAboutUnitsAreNotBelieved(t *testing.T) {
	s := newStage(t)
	c := newStreamEvents(s.roots, s.cfg)
	now := clockOf(t, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), true)
	s.log(s.at(now, time.Hour, belaUI("hello")...))
	observe(t, c, now)
	s.log(s.at(now, 0, "_PID=4711", "_TRANSPORT=journal", "MESSAGE_ID="+idFailed, "UNIT=belaUI.service", "UNIT_RESULT=signal"),
		s.at(now, 0, "_PID=4711", "_TRANSPORT=stdout", "_SYSTEMD_UNIT=other.service", "MESSAGE=The SRT connection failed, exiting"),
		s.at(now, 0, "_PID=4711", "_TRANSPORT=syslog", "SYSLOG_IDENTIFIER=kernel", "MESSAGE=usb 3-1: USB disconnect, device number 4"))
	now.Wall = now.Wall.Add(5 * time.Second)
	o := observe(t, c, now)
	if len(o.Events) != 0 {
		t.Errorf("%v", o.Events)
	}
}

func TestAKernelLineMayHaveItsPrefixInTheIdentifier(t *testing.T) {
	for line, want := range map[[2]string]string{
		{"hdmirx-controller", "hdmirx_wait_lock_and_get_timing signal not lock, tmds_clk_ratio:0"}: "hdmi_no_lock",
		{"kernel", "fdee0000.hdmirx-controller: signal is not locked"}:                             "hdmi_no_lock",
		{"rk_hdmirx", "hdmirx_query_dv_timings port has no link"}:                                  "hdmi_no_cable",
		{"mmc0", "error -110 whilst initialising SD card"}:                                         "mmc_error",
		{"kernel", "mmc0: Timeout waiting for hardware interrupt."}:                                "mmc_error",
		{"kernel", "blk_update_request: I/O error, dev mmcblk0, sector 1234 op 0x0:(READ)"}:        "mmc_error",
		{"kernel", "I/O error, dev sda, sector 1234 op 0x0:(READ)"}:                                "io_error",
		{"kernel", "Memory cgroup out of memory: Killed process 99 (x)"}:                           "oom_kill",
		{"usb 3-1", "USB disconnect, device number 4"}:                                             "usb_disconnect",
		{"kernel", "usb usb3-port1: over-current condition"}:                                       "usb_overcurrent",
		{"hwmon hwmon1", "Under-voltage detected! (0x00050005)"}:                                   "undervoltage",
		{"kernel", "mmc0: new ultra high speed SDR104 SDXC card at address aaaa"}:                  "",
		{"kernel", "usb 3-1: new high-speed USB device number 4 using xhci-hcd"}:                   "",
		{"kernel", "random: crng init done"}:                                                       "",
	} {
		if h, ok := kernelSentence(joined(line[0], line[1])); h.name != want || ok != (want != "") {
			t.Errorf("%q: %q, want %q", line, h.name, want)
		}
	}
}

// FuzzSentences reads any line: no part of it but an address, a word or a number
// may come out.
func FuzzSentences(f *testing.F) {
	f.Add("10.0.0.2 (0x1): connection established", "", "")
	f.Add("SRT connected to 1.2.3.4:9000. Negotiated latency: 99999999999999999999 ms", "belaUI.service", "signal")
	f.Add("Failed to bind to the source address fe80::1%eth0: ", "x", "\x00")
	f.Fuzz(func(t *testing.T, line, unit, result string) {
		all := []happening{}
		if h, ok := encoderSentence(line); ok {
			all = append(all, h)
		}
		if h, ok := kernelSentence(line); ok {
			all = append(all, h)
		}
		for _, h := range all {
			if h.counts && (h.words() == "" || encoderEvents[h.name]+linkEvents[h.name]+kernelEvents[h.name] == "") {
				t.Errorf("%q became %+v", line, h)
			}
			if h.link != "" && address(h.link) != h.link {
				t.Errorf("%q became link %q", line, h.link)
			}
			if k, ok := keyOf(h.tags()); h.counts && (!ok || k != h.eventKey) {
				t.Errorf("%+v became %+v", h.eventKey, k)
			}
		}
		if unitName(unit) && len(unit) > maxName || len(word(result)) > 32 {
			t.Errorf("%q %q", unit, result)
		}
	})
}
