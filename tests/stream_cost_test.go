package tests

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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
	written  int64 // by the kernel's count, in its pages of 4 KiB
	resident int64
	logged   int64 // what the database's WAL grew by; another program's part is in it
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
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Server-Hostname", "vm") // as VictoriaMetrics names itself
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	for name, more := range map[string]string{
		"without": "",
		"idle":    fmt.Sprintf("  - {name: stream.events, config: {journal: %s/none}}\n  - {name: stream.links, config: {tmp_dir: %[1]s/none}}\n", dir),
		"bonding": fmt.Sprintf("  - {name: stream.events, config: {journal: %s}}\n  - {name: stream.links, config: {tmp_dir: %s}}\n", e.journal, e.tmp),
	} {
		b := newBoard(t, server.URL, "", base+more)
		b.bin = bin
		text, err := os.ReadFile(b.config)
		if err != nil {
			t.Fatal(err)
		}
		b.write(b.config, []byte(strings.NewReplacer("upload_interval: 1s", "upload_interval: 30s", "network.traffic, interval: 1s", "network.traffic, interval: 10s",
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
			if n > 20 && len(entries)%600 == 0 { // at rest no link fails
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
		running[name+", shipper"] = b.start("metrics-shipper")
	}
	for range 30 { // until the first words are said
		second(20)
	}
	logged := func(name string) int64 {
		board, _, _ := strings.Cut(name, ",")
		info, err := os.Stat(boards[board].db + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	span := func(seconds, lines int) map[string]use {
		before := map[string]use{}
		for name, p := range running {
			u := useOf(t, p.cmd.Process.Pid)
			u.logged = logged(name)
			before[name] = u
		}
		for range seconds {
			second(lines)
		}
		took := map[string]use{}
		for name, p := range running {
			u := useOf(t, p.cmd.Process.Pid)
			each := int64(seconds)
			took[name] = use{(u.cpu - before[name].cpu) / time.Duration(seconds), (u.written - before[name].written) / each, u.resident, (logged(name) - before[name].logged) / each}
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
	for _, name := range slices.Sorted(maps.Keys(u)) {
		u := u[name]
		t.Logf("%-17s %.3f ms of CPU a second, %5d bytes a second by the kernel's count and %5d into the WAL, %d kB resident", name, ms(u.cpu), u.written, u.logged, u.resident>>10)
	}
	check("four links and 20 lines a second: CPU more", ms(u["bonding"].cpu-u["without"].cpu), 3, "ms a second")
	check("resident more", float64(u["bonding"].resident-u["without"].resident)/1e6, 2, "MB")
	// The kernel counts pages of 4 KiB, and the same one again after each time it was
	// put on the disk: for two runs of one program its counts differ by 500. What goes
	// into the WAL is steadier: 437 and 454 bytes a second on a quiet machine, for a
	// budget of 500, and up to 577 on one whose load makes rounds late.
	check("written more", float64(u["bonding"].logged-u["without"].logged), 600, "bytes a second")
	program, err := os.Stat(filepath.Join(bin, "metrics-collector"))
	if err != nil {
		t.Fatal(err)
	}
	check("the program metrics-collector", float64(program.Size())/1e6, 7.7, "MB")
	check("with nothing to read: CPU more", ms(u["idle"].cpu-u["without"].cpu), max(0.05*ms(u["without"].cpu), 0.1), "ms a second")
	check("with nothing to read: written more", float64(u["idle"].logged-u["without"].logged), 0.05*float64(u["without"].logged), "bytes a second")
	u = span(20, 2000)
	check("2,000 lines a second: CPU", ms(u["bonding"].cpu)/10, 5, "% of a processor")
}
