package ship

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

func TestStreamComesFirst(t *testing.T) {
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	links := func(eth0, docker0 int) {
		text := fmt.Sprintf("eth0: 0 0 0 0 0 0 0 0 %d 0\ndocker0: 0 0 0 0 0 0 0 0 %d 0\n", eth0, docker0)
		if err := os.WriteFile(filepath.Join(proc, "net", "dev"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) { c.Host.Procfs, c.Remote.BusyKbps = proc, 1000 })
	fresh := b.last
	b.last -= 3600_000
	b.record(500, "old")
	b.last = fresh
	look := func(ago time.Duration, eth0, docker0 int) {
		b.ship.pacing.traffic.at = time.Now().Add(-ago)
		b.ship.pacing.traffic.own = b.ship.client.link.sent.Load()
		links(eth0, docker0)
	}
	links(0, 0)
	b.ship.busy(time.Now())

	look(10*time.Second, 2_500_000, 0) // 2 Mbit/s
	b.record(100, "live")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if seen, _ := f.state(); seen != 1 {
		t.Errorf("%d requests while the links are busy", seen)
	}
	b.want(550, 50, 0)
	if !strings.Contains(b.status().Detail, `"busy":true`) {
		t.Errorf("detail %s", b.status().Detail)
	}
	// Our own are none of others'.
	look(10*time.Second, 2_500_000, 0)
	b.ship.pacing.traffic.bytes, b.ship.pacing.traffic.own = 0, b.ship.pacing.traffic.own-2_400_000
	if b.ship.busy(time.Now()) {
		t.Error("busy with our own bytes")
	}
	look(10*time.Second, 2_500_000+100_000, 99_000_000) // 80 kbit/s, and a container's
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 600, 0)
}

func TestBacklogStopsWhenTheLinksGetBusy(t *testing.T) {
	proc := t.TempDir()
	os.MkdirAll(filepath.Join(proc, "net"), 0o755)
	path := filepath.Join(proc, "net", "dev")
	os.WriteFile(path, []byte("eth0: 0 0 0 0 0 0 0 0 0 0\n"), 0o644)
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) {
		c.Host.Procfs, c.Remote.BusyKbps, c.Remote.BatchSize, c.Remote.ChunkSize = proc, 1000, 50, 50
	})
	b.last -= 3600_000
	b.record(500, "old")
	requests := 0
	b.ship.progress = func() {
		if requests++; requests == 3 {
			os.WriteFile(path, []byte("eth0: 0 0 0 0 0 0 0 0 99000000 0\n"), 0o644)
			b.ship.pacing.traffic.at = time.Now().Add(-2 * time.Second)
		}
	}
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := b.states(); len(p) < 300 || len(p) == 500 {
		t.Errorf("%d of 500 are left", len(p))
	}
	// What cannot be read is not in the way.
	os.Remove(path)
	b.ship.pacing.traffic.at, b.ship.pacing.traffic.busy = time.Time{}, false
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 500, 0)
}

func TestOneRefusedSeriesDoesNotKeepTheOthersWhileTheLinksAreBusy(t *testing.T) {
	proc := t.TempDir()
	os.MkdirAll(filepath.Join(proc, "net"), 0o755)
	f := newFaultServer(t, refusesSeries("bad"))
	b := newBench(t, f.url, func(c *config.Config) { c.Host.Procfs, c.Remote.BusyKbps = proc, 1000 })
	good := 0
	var requests []int
	for i := range 10 {
		os.WriteFile(filepath.Join(proc, "net", "dev"), fmt.Appendf(nil, "eth0: 0 0 0 0 0 0 0 0 %d 0\n", (i+1)*10_000_000), 0o644)
		b.ship.pacing.traffic.at, b.ship.pacing.traffic.bytes, b.ship.pacing.traffic.own = time.Now().Add(-time.Minute), uint64(i*10_000_000), b.ship.client.link.sent.Load()
		b.record(3, "a", "b", "bad", "c", "d")
		good += 12
		before, _ := f.state()
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		now, _ := f.state()
		requests = append(requests, now-before)
	}
	_, delivered, _ := b.states()
	n := 0
	for k := range delivered {
		if len(k) > 1 && k[1] == '@' {
			n++
		}
	}
	if n != good || slices.Max(requests[1:]) != 1 {
		t.Errorf("%d of %d good samples delivered, with %v requests in a round", n, good, requests)
	}
}
