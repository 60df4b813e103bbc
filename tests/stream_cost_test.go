package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taniwha3/thugshells/shared/journal/journaltest"
)

// A use is what a process took.
type use struct {
	cpu      time.Duration
	written  int64
	resident int64
}

func useOf(t *testing.T, pid int) (u use) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal("no such process", err)
	}
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil {
			ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			u.cpu += time.Duration(ns)
		}
	}
	field := func(file, name string) (n int64) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				fmt.Sscan(rest, &n)
			}
		}
		return n
	}
	u.written, u.resident = field("io", "write_bytes"), field("status", "VmRSS")<<10
	return u
}

// TestTheStreamCostsLittle runs three collectors at once, each as it is delivered:
// one without the collectors of the stream, one with them and nothing to read, and
// one with four links and twenty lines of the journal a second. Then the last one
// gets two thousand lines a second.
func TestTheStreamCostsLittle(t *testing.T) {
	mode, bin := os.Getenv("MEASURE"), os.Getenv("MEASURE_BIN")
	if mode == "" || bin == "" {
		t.Skip("a measurement: run with MEASURE=print, or make bench")
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e := &encoder{journal: filepath.Join(dir, "journal"), tmp: filepath.Join(dir, "tmp"), boot: strings.ReplaceAll(strings.TrimSpace(string(boot)), "-", "")}
	base := "  - {name: cpu.usage}\n  - {name: disk.io, interval: 30s}\n  - {name: disk.usage}\n"
	boards := map[string]*board{}
	for name, more := range map[string]string{
		"without": "",
		"idle":    fmt.Sprintf("  - {name: stream.events, config: {journal: %s/none}}\n  - {name: stream.links, config: {tmp_dir: %[1]s/none}}\n", dir),
		"bonding": fmt.Sprintf("  - {name: stream.events, config: {journal: %s}}\n  - {name: stream.links, config: {tmp_dir: %s}}\n", e.journal, e.tmp),
	} {
		b := newBoard(t, "http://127.0.0.1:1", "", base+more)
		b.bin = bin
		text, err := os.ReadFile(b.config)
		if err != nil {
			t.Fatal(err)
		}
		b.write(b.config, []byte(strings.NewReplacer("network.traffic, interval: 1s", "network.traffic, interval: 10s",
			"system.load, interval: 1s", "system.load, interval: 30s", "memory.usage, interval: 1s", "memory.usage, interval: 30s").Replace(string(text))))
		b.write(filepath.Join(b.proc, "stat"), []byte("cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
		boards[name] = b
	}
	e.b = boards["bonding"]
	e.relay(true)
	var entries []journaltest.Entry
	log := func(n int) {
		now := time.Now()
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		for range n {
			line := "chatter of the encoder, number " + strconv.Itoa(len(entries))
			if len(entries)%600 == 0 {
				line = "10.45.0.2 (0x55e8): connection failed, attempting to reconnect"
			}
			entries = append(entries, journaltest.Entry{
				Realtime: now.UnixMicro(), Monotonic: ts.Nano() / 1000, Boot: e.boot,
				Fields: append(belaUI(line), "PRIORITY=6", "_UID=0", "_GID=0", "_COMM=node", "_EXE=/usr/bin/node", "_HOSTNAME=belabox", "_SOURCE="+strconv.Itoa(len(entries))),
			})
		}
		// In place, as journald writes.
		f, err := os.OpenFile(filepath.Join(e.journal, "system.journal"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt(journaltest.Bytes(true, entries), 0)
		f.Close()
	}
	if err := os.MkdirAll(e.journal, 0o755); err != nil {
		t.Fatal(err)
	}
	log(1)
	second := func(n int) {
		if n > 0 {
			log(n)
		}
		var links []string
		for i := range 4 {
			links = append(links, fmt.Sprintf(`{"conn_id":"%d","rtt_ms":%d,"nak_count":3,"weight_percent":85,"window":8192,"in_flight":100,"bitrate_bps":2500000}`, i, 40+len(entries)%9))
		}
		e.b.write(filepath.Join(e.tmp, "srtla-send-stats-9000.json"), fmt.Appendf(nil, `{"last_updated_ms":%d,"connections":[%s]}`, time.Now().UnixMilli(), strings.Join(links, ",")))
		time.Sleep(time.Second)
	}
	running := map[string]*program{}
	for name, b := range boards {
		running[name] = b.start("metrics-collector")
	}
	for range 30 { // until the first words are said
		second(20)
	}
	span := func(seconds, lines int) map[string]use {
		before := map[string]use{}
		for name, p := range running {
			before[name] = useOf(t, p.cmd.Process.Pid)
		}
		for range seconds {
			second(lines)
		}
		took := map[string]use{}
		for name, p := range running {
			u := useOf(t, p.cmd.Process.Pid)
			took[name] = use{(u.cpu - before[name].cpu) / time.Duration(seconds), (u.written - before[name].written) / int64(seconds), u.resident}
		}
		return took
	}
	check := func(what string, got, most float64, unit string) {
		t.Helper()
		t.Logf("%-58s %10.2f %s, budget %g", what, got, unit, most)
		if mode == "check" && got > most {
			t.Errorf("%s: %.2f %s, budget %g", what, got, unit, most)
		}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	u := span(120, 20)
	t.Logf("without: %.3f ms of CPU and %d bytes a second, %d kB resident", ms(u["without"].cpu), u["without"].written, u["without"].resident>>10)
	t.Logf("idle:    %.3f ms of CPU and %d bytes a second, %d kB resident", ms(u["idle"].cpu), u["idle"].written, u["idle"].resident>>10)
	check("four links and 20 lines a second: CPU more", ms(u["bonding"].cpu-u["without"].cpu), 3, "ms a second")
	check("resident more", float64(u["bonding"].resident-u["without"].resident)/1e6, 2, "MB")
	// 500 were wished for. Four links are 24 samples in ten seconds, and each costs
	// the pages that it is written to: some 600 bytes.
	check("written more", float64(u["bonding"].written-u["without"].written), 2500, "bytes a second")
	// Of a millisecond and a half a second: the clock ticks of other work on the
	// machine are as large as the budget of 5 % of it.
	check("with nothing to read: CPU more", ms(u["idle"].cpu-u["without"].cpu), max(0.05*ms(u["without"].cpu), 0.15), "ms a second")
	check("with nothing to read: written more", float64(u["idle"].written-u["without"].written), 0.05*float64(u["without"].written), "bytes a second")
	u = span(20, 2000)
	check("2,000 lines a second: CPU", ms(u["bonding"].cpu)/10, 5, "% of a processor")
}
