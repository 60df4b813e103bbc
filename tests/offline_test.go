package tests

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// offlineFor is how long the server is away: OFFLINE_MINUTES, or half a minute.
func offlineFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OFFLINE_MINUTES")
	if text == "" {
		return 30 * time.Second
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil || minutes <= 0 {
		t.Fatalf("OFFLINE_MINUTES: want a number of minutes, got %q", text)
	}
	return time.Duration(minutes * float64(time.Minute))
}

// pastEvent is an event of a stream, and how often its kind had happened by then.
type pastEvent struct {
	series string // its labels, as the export has them
	at     time.Time
	nth    float64
}

// TestWhatHappenedOfflineArrivesWithItsTimes takes the server away while links fail
// and USB devices go, the collector killed for a part of it. When the server is back
// it has each event at its second, and each row that the board has, once.
func TestWhatHappenedOfflineArrivesWithItsTimes(t *testing.T) {
	away := offlineFor(t)
	server := newVictoria(t)
	e := newEncoder(t, server.base)
	b := e.b
	// One modem's counters: the rows are to be many by the hours, not by the second.
	b.write(filepath.Join(b.proc, "net", "dev"), []byte("Inter-| Receive | Transmit\n face |bytes\nwwan0: 1 2 3 0 0 0 0 0 4 5 6 0 0 0 0 0\n"))
	e.say(2*time.Hour, belaUI("hello"))
	collector, shipper := b.start("metrics-collector"), b.start("metrics-shipper")
	await(t, "the first rows to arrive", func() bool {
		n, ok := b.number(`SELECT count(*) FROM samples WHERE uploaded = 1`)
		return ok && n > 0 && e.value("stream.active", "") == 0
	})

	server.run.stop()
	begun := time.Now()
	kinds := []struct {
		name, tags, series string
		fields             []string
	}{
		{
			"stream.events_total", `{"event":"link_failed","link":"10.45.0.2"}`, "link_failed 10.45.0.2",
			belaUI("10.45.0.2 (0x55e8ada79dc0): connection failed, attempting to reconnect"),
		},
		{
			"kernel.events_total", `{"event":"usb_disconnect"}`, "usb_disconnect ",
			[]string{"_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=kernel", "MESSAGE=usb 3-1: USB disconnect, device number 4"},
		},
		{
			"stream.events_total", `{"event":"link_established","link":"10.45.0.2"}`, "link_established 10.45.0.2",
			belaUI("10.45.0.2 (0x55e8ada79dc0): connection established"),
		},
	}
	const events = 12
	var happened []pastEvent
	for i := range events {
		if i == events/2 && !collector.kill() {
			t.Fatal("the collector had ended before")
		}
		if i == events*2/3 {
			collector = b.start("metrics-collector")
		}
		kind, nth := kinds[i%len(kinds)], float64(i/len(kinds)+1)
		happened = append(happened, pastEvent{kind.series, e.say(0, kind.fields), nth})
		if !collector.ended() {
			await(t, "event "+strconv.Itoa(i), func() bool { return e.value(kind.name, kind.tags) == nth })
		}
		if rest := time.Until(begun.Add(away * time.Duration(i+1) / events)); rest > 0 {
			time.Sleep(rest)
		}
	}
	pending, ok := b.number(`SELECT count(*) FROM samples WHERE uploaded = 0`)
	if least := int64(away.Seconds() / 2); !ok || pending < least {
		t.Errorf("%d rows wait, want at least %d", pending, least)
	}
	t.Logf("offline for %s, %d rows wait", time.Since(begun).Round(time.Second), pending)

	server.start()
	b.awaitAllSent(t)
	collector.stop()
	shipper.stop()
	b.drain()
	got := mustArrive(t, b.db, server.base)
	inspected, exit := b.command("metrics-collector", "-inspect")
	if exit != 0 || !strings.Contains(inspected, "it balances with the stored rows") {
		t.Errorf("exit %d:\n%s", exit, inspected)
	}
	t.Logf("%d rows stored and at the server", len(got))
	arrivedAtTheirTimes(t, server.base, happened)
}

// arrivedAtTheirTimes asks the server when each event was, by the count that grew at
// that second and by the time that was sent, and how often each kind was counted in all.
func arrivedAtTheirTimes(t *testing.T, base string, happened []pastEvent) {
	t.Helper()
	times, counts, grew := map[string][]float64{}, map[string]float64{}, map[string]map[float64]float64{}
	for _, name := range []string{"stream_event_time_seconds", "stream_events_total", "kernel_events_total"} {
		exported, _ := get(base + "/api/v1/export?match[]=" + name)
		for line := range strings.Lines(exported) {
			var l struct {
				Metric             map[string]string
				Values, Timestamps []float64
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			key := l.Metric["event"] + " " + l.Metric["link"]
			if name == "stream_event_time_seconds" {
				times[key] = append(times[key], l.Values...)
				continue
			}
			counts[key], grew[key] = slices.Max(l.Values), map[float64]float64{}
			for i, v := range slices.Backward(l.Values) {
				grew[key][v] = l.Timestamps[i] / 1000 // at last of its first sample
			}
		}
	}
	want := map[string]float64{}
	for i, h := range happened {
		want[h.series] = h.nth
		at := float64(h.at.UnixMicro()) / 1e6
		told := math.Inf(1)
		for _, seconds := range times[h.series] {
			told = min(told, math.Abs(seconds-at))
		}
		counted := math.Abs(grew[h.series][h.nth] - at)
		if told > 1 || counted > 1 {
			t.Errorf("event %d, %s at %s: the nearest time is %v s off, its count %v s", i, h.series, h.at, told, counted)
		}
		t.Logf("%s %s: off by %.3f s, its count by %.3f s", h.at.Format(time.TimeOnly), h.series, told, counted)
	}
	for series, n := range want {
		if counts[series] != n {
			t.Errorf("%s was counted %v times, want %v", series, counts[series], n)
		}
	}
}
