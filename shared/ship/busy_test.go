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
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

func TestStreamComesFirst(t *testing.T) {
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	links := func(eth0, docker0 int) {
		text := fmt.Sprintf("eth0: 0 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\ndocker0: 0 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\n", eth0, docker0)
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
		b.ship.pacing.traffic.ours = b.ship.client.link.sent.Load()
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
	b.ship.pacing.traffic.sent, b.ship.pacing.traffic.ours = map[string]uint64{}, b.ship.pacing.traffic.ours-2_400_000
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
	os.WriteFile(path, []byte("eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"), 0o644)
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) {
		c.Host.Procfs, c.Remote.BusyKbps, c.Remote.BatchSize, c.Remote.ChunkSize = proc, 1000, 50, 50
	})
	b.last -= 3600_000
	b.record(500, "old")
	requests := 0
	b.ship.progress = func() {
		if requests++; requests == 3 {
			os.WriteFile(path, []byte("eth0: 0 0 0 0 0 0 0 0 99000000 0 0 0 0 0 0 0\n"), 0o644)
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

func TestOneRejectedSeriesDoesNotBlockTheOthersWhileTheLinksAreBusy(t *testing.T) {
	proc := t.TempDir()
	os.MkdirAll(filepath.Join(proc, "net"), 0o755)
	f := newFaultServer(t, refusesSeries("bad"))
	b := newBench(t, f.url, func(c *config.Config) { c.Host.Procfs, c.Remote.BusyKbps = proc, 1000 })
	good := 0
	var requests []int
	for i := range 10 {
		os.WriteFile(filepath.Join(proc, "net", "dev"), fmt.Appendf(nil, "eth0: 0 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\n", (i+1)*10_000_000), 0o644)
		b.ship.pacing.traffic.at, b.ship.pacing.traffic.sent, b.ship.pacing.traffic.ours = time.Now().Add(-time.Minute), map[string]uint64{"eth0": uint64(i * 10_000_000)}, b.ship.client.link.sent.Load()
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

// TestTrafficCountsEachByteOnceAndEachLinkForItself follows tables of links. In
// each step of ten seconds the links' counts are as given; busy is what others
// send in kilobits a second above 1000.
func TestTrafficCountsEachByteOnceAndEachLinkForItself(t *testing.T) {
	type step map[string]int        // bytes sent, by link
	const mega = 10 * 1_000_000 / 8 // bytes of ten seconds at 1 Mbit/s
	for name, tt := range map[string]struct {
		sysfs map[string]string // files below /sys/class/net
		cfg   config.MetricConfig
		steps []step
		want  []bool
	}{
		"a bond and a tunnel over two modems": {
			sysfs: map[string]string{"usb0/device": "", "usb1/device": "", "bond0/bonding/mode": "", "wg0/uevent": "DEVTYPE=wireguard\n"},
			steps: []step{{}, {"usb0": mega * 4 / 10, "usb1": mega * 4 / 10, "bond0": mega * 8 / 10, "wg0": mega * 8 / 10}},
			want:  []bool{false, false},
		},
		"the same where sysfs has nothing": {
			steps: []step{{}, {"usb0": mega * 4 / 10, "usb1": mega * 4 / 10, "bond0": mega * 8 / 10, "wg0": mega * 8 / 10, "br0": mega * 8 / 10, "eth0.7": mega * 8 / 10, "tun0": mega}},
			want:  []bool{false, false},
		},
		"a switch's ports count at the port of the processor": {
			sysfs: map[string]string{"eth0/device": "", "lan1/device": "", "lan1/lower_eth0": "", "lan2/device": "", "lan2/lower_eth0": ""},
			steps: []step{{}, {"eth0": mega * 8 / 10, "lan1": mega * 4 / 10, "lan2": mega * 4 / 10}},
			want:  []bool{false, false},
		},
		"a container's link has no device": {
			sysfs: map[string]string{"eth0/mtu": "", "wg0/uevent": "DEVTYPE=wireguard\n", "dummy0/mtu": ""},
			steps: []step{{}, {"eth0": mega * 8 / 10, "wg0": mega * 8 / 10, "dummy0": mega}, {"eth0": mega * 30 / 10, "wg0": mega, "dummy0": mega}},
			want:  []bool{false, false, true},
		},
		"only the bond is included": {
			sysfs: map[string]string{"usb0/device": "", "bond0/bonding/mode": "", "bond0/lower_usb0": ""},
			cfg:   config.MetricConfig{IncludeIfaces: []string{"bond.*"}},
			steps: []step{{}, {"usb0": mega * 9, "bond0": mega * 8 / 10}, {"usb0": mega * 9, "bond0": mega * 2}},
			want:  []bool{false, false, true},
		},
		"an included link of several": {
			sysfs: map[string]string{"usb0/device": "", "eth0/device": ""},
			cfg:   config.MetricConfig{IncludeIfaces: []string{"usb.*"}},
			steps: []step{{}, {"usb0": 1, "eth0": mega * 9}},
			want:  []bool{false, false},
		},
		"a modem with a long past is plugged in anew": {
			sysfs: map[string]string{"usb0/device": "", "usb1/device": ""},
			steps: []step{{"usb0": 0, "usb1": 5_000_000_000}, {"usb0": 2 * mega, "usb1": 5_000_000_000}, {"usb0": 4 * mega, "usb1": 1000}, {"usb0": 6 * mega}, {"usb0": 6 * mega, "usb1": 2 * mega}},
			want:  []bool{false, true, true, true, true},
		},
		"a link that was out of sight for one look does not bring its past": {
			sysfs: map[string]string{"usb0/device": "", "usb1/device": ""},
			steps: []step{{"usb0": 0, "usb1": 5_000_000_000}, {"usb0": 0}, {"usb0": 0, "usb1": 5_000_000_100}},
			want:  []bool{false, false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.sysfs {
				hosttest.Write(t, filepath.Join(dir, "sys/class/net", file), text)
			}
			cfg := config.Default()
			cfg.Host = config.Host{Procfs: dir + "/proc", Sysfs: dir + "/sys"}
			cfg.Remote.BusyKbps = 1000
			cfg.Metrics = []config.Metric{{Name: "network.traffic", Config: tt.cfg}}
			watch, err := newTraffic(cfg)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			for i, links := range tt.steps {
				table := "face |bytes\nlo: 0 0 0 0 0 0 0 0 99999999999 0 0 0 0 0 0 0\nbad0: 1 2\n"
				for link, sent := range links {
					table += fmt.Sprintf("%s: 0 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\n", link, sent)
				}
				if len(links) == 0 {
					for link := range tt.steps[i+1] {
						table += link + ": 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
					}
				}
				hosttest.Write(t, filepath.Join(dir, "proc/net/dev"), table)
				if busy, err := watch.measure(now, 0); busy != tt.want[i] || err != nil {
					t.Errorf("step %d: %v, %v, want %v", i, busy, err, tt.want[i])
				}
				now = now.Add(10 * time.Second)
			}
		})
	}
}
