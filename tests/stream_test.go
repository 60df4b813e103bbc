package tests

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taniwha3/thugshells/shared/journal/journaltest"
)

// An encoder is what belacoder and srtla_send leave behind: lines in a journal,
// files in /tmp, a socket.
type encoder struct {
	b       *board
	journal string
	tmp     string
	boot    string
	linkUp  atomic.Bool // of the second of two links
}

func newEncoder(t *testing.T, url string) *encoder {
	t.Helper()
	journaltest.Need(t)
	dir := t.TempDir()
	e := &encoder{journal: filepath.Join(dir, "journal"), tmp: filepath.Join(dir, "tmp")}
	e.b = newBoard(t, url, "", fmt.Sprintf(`  - {name: stream.events, interval: 1s, priority: 0, config: {journal: %s}}
  - {name: stream.links, interval: 1s, priority: 1, config: {tmp_dir: %s}}
`, e.journal, e.tmp))
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	e.boot = strings.ReplaceAll(strings.TrimSpace(string(boot)), "-", "")
	e.linkUp.Store(true)
	e.relay(false)
	return e
}

// say writes lines of a unit into the journal, as they would have been written some
// time ago, and returns that time.
func (e *encoder) say(ago time.Duration, fields ...[]string) time.Time {
	e.b.t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		e.b.t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	var export strings.Builder
	for i, f := range fields {
		export.WriteString(journaltest.Export(at.UnixMicro()+int64(i), (time.Duration(ts.Nano())-ago).Microseconds()+int64(i), e.boot, f...))
	}
	journaltest.Write(e.b.t, filepath.Join(e.journal, "system.journal"), export.String())
	return at
}

func belaUI(line string) []string {
	return []string{"_SYSTEMD_UNIT=belaUI.service", "_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=belaUI", "_PID=812", "MESSAGE=" + line}
}

// relay says whether srtla_send listens.
func (e *encoder) relay(on bool) {
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	if on {
		table += "  501: 00000000:2328 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21371 2 0000000000000000 3\n"
	}
	e.b.write(filepath.Join(e.b.proc, "net", "udp"), []byte(table))
}

// send rewrites the sender's statistics each second until it is stopped.
func (e *encoder) send(stop <-chan struct{}) {
	e.b.write(filepath.Join(e.tmp, "srtla_ips"), []byte("10.45.0.2\n192.168.8.100\n"))
	e.b.write(filepath.Join(e.tmp, "belacoder_br"), []byte("500000\n6000000\n"))
	for s := 0; ; s++ {
		second := 1_000_000
		if !e.linkUp.Load() {
			second = 0
		}
		e.b.write(filepath.Join(e.tmp, "srtla-send-stats-9000.json"), fmt.Appendf(nil, `{"schema_version":1,"last_updated_ms":%d,"connections":[`+
			`{"conn_id":"0","rtt_ms":40,"nak_count":%d,"weight_percent":85,"window":8192,"in_flight":100,"bitrate_bps":2500000},`+
			`{"conn_id":"1","rtt_ms":73,"nak_count":0,"weight_percent":55,"window":4096,"in_flight":0,"bitrate_bps":%d}]}`, time.Now().UnixMilli(), s, second))
		select {
		case <-stop:
			os.Remove(filepath.Join(e.tmp, "srtla-send-stats-9000.json"))
			return
		case <-time.After(time.Second):
		}
	}
}

// value is the newest value of a series on the board, NaN where there is none.
func (e *encoder) value(name, tags string) float64 {
	out, err := query(e.b.db, fmt.Sprintf(`SELECT metric_value FROM metrics WHERE metric_name = '%s' AND tags = '%s' ORDER BY timestamp_ms DESC LIMIT 1`, name, tags))
	v := math.NaN()
	if err == nil {
		fmt.Sscan(strings.TrimSpace(out), &v)
	}
	return v
}

// What must not leave the board, nor be stored on it.
var personal = []string{"490154203237518", "001010123456789", "live_secret_0815", "rec.example.com"}

// TestABondingSessionFromItsLinesToItsDashboard plays a session: the programs' own
// lines go into a real journal file, the statistics are rewritten each second, a
// link dies, the collector is killed, the server is away all the while, and the
// operator stops the stream, which prints nothing. Then the server comes back.
func TestABondingSessionFromItsLinesToItsDashboard(t *testing.T) {
	server := newVictoria(t)
	server.run.stop()
	e := newEncoder(t, server.base)
	b := e.b
	begun := time.Now()
	e.say(2*time.Hour, belaUI("hello"))
	collector, shipper := b.start("metrics-collector"), b.start("metrics-shipper")
	await(t, "stream.active", func() bool { return e.value("stream.active", "") == 0 })

	stop, sent := make(chan struct{}), make(chan struct{})
	go func() { defer close(sent); e.send(stop) }()
	e.relay(true)
	connected := e.say(0,
		belaUI("Gstreamer pipeline: v4l2src ! srtsink uri=srt://rec.example.com?streamid=live_secret_0815"),
		belaUI("modem 490154203237518 with 001010123456789 is up"),
		belaUI("10.45.0.2 (0x55e8ada79dc0): connection group registered"),
		belaUI("10.45.0.2 (0x55e8ada79dc0): connection established"),
		belaUI("192.168.8.100 (0x55e8ada79970): connection established"),
		belaUI("SRT connected to rec.example.com:9000. Negotiated latency: 2000 ms"))
	await(t, "the stream to be on", func() bool { return e.value("stream.active", "") == 1 })

	// A link dies. The stream goes on.
	e.linkUp.Store(false)
	failed := e.say(0, belaUI("192.168.8.100 (0x55e8ada79970): connection failed, attempting to reconnect"))
	fell := `{"event":"link_failed","link":"192.168.8.100"}`
	await(t, "the link's failure", func() bool { return e.value("stream.events_total", fell) == 1 })

	// The collector is killed, and was away for an hour as far as the lines go.
	if !collector.kill() {
		t.Fatal("the collector had ended before")
	}
	unplugged := e.say(59*time.Minute, []string{"_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=kernel", "MESSAGE=usb 3-1: USB disconnect, device number 4"})
	for range 5 {
		e.say(30*time.Minute, belaUI("192.168.8.100 (0x55e8ada79970): sendto() failed, disabling the connection"))
	}
	e.say(20*time.Minute, []string{"_PID=1", "_COMM=systemd", "_TRANSPORT=journal", "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c", "UNIT=other.service", "UNIT_RESULT=exit-code", "MESSAGE=other.service: Failed with result 'exit-code'."})
	collector = b.start("metrics-collector")
	await(t, "what came meanwhile", func() bool {
		return e.value("stream.events_total", `{"event":"link_send_failed","link":"192.168.8.100"}`) == 5 &&
			e.value("unit.failures_total", `{"result":"exit-code","unit":"other.service"}`) == 1
	})
	if v := e.value("stream.events_total", fell); v != 1 {
		t.Errorf("the link's failure was counted %v times", v)
	}
	await(t, "the stream to be on after the restart", func() bool { return e.value("stream.active", "") == 1 })

	await(t, "a rate of each counter", func() bool {
		few, ok := b.number(`SELECT count(*) FROM (SELECT count(*) AS n FROM metrics
			WHERE metric_name IN ('stream.link_nak_total', 'stream.relay_dropped_total') GROUP BY metric_name, tags) WHERE n < 2`)
		return ok && few == 0
	})

	// The operator stops the stream.
	close(stop)
	<-sent
	e.relay(false)
	stopped := time.Now()
	await(t, "the stream to be off", func() bool { return e.value("stream.active", "") == 0 })
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("off after %s, want 10 s", took)
	}

	page := b.serveHealth(t)
	told, status := get(page + "/api/events")
	if status != 200 || !strings.Contains(told, "192.168.8.100: the link failed") || !strings.Contains(told, "a USB device was disconnected") {
		t.Errorf("%d %s", status, told)
	}
	server.start()
	await(t, "everything to arrive", b.allSent)
	collector.stop()
	shipper.stop()
	b.drain()
	get(server.base + "/internal/force_flush")

	now := time.Now().Add(time.Minute)
	at := func(expr string) (v float64) {
		t.Helper()
		series, err := askAt(t.Context(), server.base, "last_over_time("+expr+"[3h])", now)
		if err != nil || len(series) != 1 {
			t.Errorf("%s: %d series, %v", expr, len(series), err)
			return math.NaN()
		}
		return series[0].numbers(t)[0]
	}
	for expr, want := range map[string]float64{
		`stream_events_total{event="link_failed",link="192.168.8.100"}`:      1,
		`stream_events_total{event="link_established",link="10.45.0.2"}`:     1,
		`stream_events_total{event="link_send_failed",link="192.168.8.100"}`: 5,
		`stream_events_total{event="srt_connected"}`:                         1,
		`stream_events_total{event="pipeline_started"}`:                      1,
		`kernel_events_total{event="usb_disconnect"}`:                        1,
		`unit_failures_total{unit="other.service",result="exit-code"}`:       1,
		`stream_latency_ms`:                                 2000,
		`stream_active`:                                     0,
		`stream_link_rtt_ms{link="10.45.0.2"}`:              40,
		`stream_link_bits_per_second{link="192.168.8.100"}`: 0,
		`stream_bitrate_max_bps`:                            6e6,
		`stream_relay_dropped_total`:                        3,
	} {
		if got := at(expr); got != want {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}

	// The dashboard marks each event at its own second, also what was read late.
	for _, a := range dashboards(t)["board.json"].Annotations.List {
		if a.Name != "Events of the stream" {
			continue
		}
		series, err := askRange(t.Context(), server.base, strings.ReplaceAll(a.Expr, "$device_id", "board-1"), begun.Add(-3*time.Hour), now, "30s")
		if err != nil {
			t.Fatal(err)
		}
		marks := map[string]float64{}
		for _, s := range series {
			for _, ms := range s.numbers(t) {
				marks[s.Metric["event"]+s.Metric["link"]] = ms
			}
		}
		for event, when := range map[string]time.Time{"link_failed192.168.8.100": failed, "usb_disconnect": unplugged, "srt_connected": connected} {
			if off := marks[event] - float64(when.UnixMilli()); math.Abs(off) > 1000 {
				t.Errorf("%s is marked %v ms off", event, off)
			}
		}
		if len(marks) < 8 {
			t.Errorf("%d marks: %v", len(marks), marks)
		}
	}
	e.shows(t, server.base, begun, now)

	inspected, exit := b.command("metrics-collector", "-inspect")
	if exit != 0 || !strings.Contains(inspected, "it balances with the stored rows") || !strings.Contains(inspected, "the link failed") {
		t.Errorf("exit %d:\n%s", exit, inspected)
	}
	exported, _ := get(server.base + `/api/v1/export?match[]={device_id="board-1"}`)
	metrics, _ := get(page + "/metrics")
	e.private(t, map[string]string{"wire": exported, "page": told + metrics, "inspect": inspected})
}

// serveHealth runs metrics-health on the board and returns its address.
func (b *board) serveHealth(t *testing.T) string {
	t.Helper()
	port := mustReservePort(t)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(b.dir, "health.yaml")
	b.write(own, append(text, "health: {listen: '127.0.0.1:"+port+"'}\n"...))
	runBeside(t, exec.Command(filepath.Join(b.bin, "metrics-health"), "-config", own))
	await(t, "metrics-health", func() bool { _, status := get("http://127.0.0.1:" + port + "/health/live"); return status == 200 })
	return "http://127.0.0.1:" + port
}

// shows asks what the dashboard's row of the stream asks; every panel has data.
func (e *encoder) shows(t *testing.T, base string, from, to time.Time) {
	t.Helper()
	asked := 0
	for _, p := range dashboards(t)["board.json"].all() {
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, "stream_") || strings.Contains(target.Expr, "receiver_") {
				continue
			}
			asked++
			expr := strings.NewReplacer("$device_id", "board-1", "$__rate_interval", "10m").Replace(target.Expr)
			series, err := askRange(t.Context(), base, expr, from, to, "10s")
			if err != nil || len(series) == 0 {
				t.Errorf("%s: %s: %d series, %v", p.Title, expr, len(series), err)
			}
		}
	}
	if asked < 15 {
		t.Errorf("%d queries of the stream", asked)
	}
}

// private looks for what must stay where it was, in all that was stored and said.
func (e *encoder) private(t *testing.T, said map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.b.dir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil {
			said[filepath.Base(f)] = string(text)
		}
	}
	for where, text := range said {
		for _, secret := range personal {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, secret)
			}
		}
	}
	if len(said["metrics.db"])+len(said["metrics.db-wal"]) < 10_000 || len(said["metrics-collector.log"]) == 0 || len(said["wire"]) < 1000 {
		t.Error("there is nothing to look through")
	}
}

// TestWithoutAnEncoderNothingIsLoggedOrSent: on a machine without journal, encoder, relay,
// HDMI input and bus nothing is said, in the log or to the server.
func TestWithoutAnEncoderNothingIsLoggedOrSent(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+dir+"/none")
	b := newBoard(t, "http://127.0.0.1:1", "", fmt.Sprintf(`  - {name: stream.events, interval: 1s, priority: 0, config: {journal: %s/none}}
  - {name: stream.links, interval: 1s, priority: 1, config: {tmp_dir: %[1]s/none}}
  - {name: hdmi.input, interval: 1s, priority: 1, config: {devices: [%[1]s/none]}}
  - {name: modem.status, interval: 1s, priority: 1}
`, dir))
	collector := b.start("metrics-collector")
	await(t, "five rounds", func() bool {
		n, ok := b.number("SELECT count(DISTINCT timestamp_ms) FROM samples")
		return ok && n >= 5
	})
	collector.stop()
	for _, source := range []string{"stream.", "kernel.", "hdmi.", "modem."} {
		if n, ok := b.number(`SELECT count(*) FROM series WHERE metric_name LIKE '` + source + `%' OR tags LIKE '%` + source + `%'`); !ok || n != 0 {
			t.Errorf("%d series of %s", n, source)
		}
		if n, ok := b.number(`SELECT count(*) FROM status WHERE component LIKE 'collector/` + source + `%' AND failing_since_ms <> 0`); !ok || n != 0 {
			t.Errorf("%d of %s fail", n, source)
		}
	}
	log, err := os.ReadFile(collector.log)
	if err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile("stream|hdmi|modem")
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"level":"WARN"`) && ours.MatchString(line) || strings.Contains(line, `"level":"ERROR"`) {
			t.Error(line)
		}
	}
}
