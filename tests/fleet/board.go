package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/ship"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// tick is the time between two rounds of a board's collector.
const tick = 10 * time.Second

// A board is a database with a real shipper, and a stand-in for the collector
// that measures an invented machine.
type board struct {
	db      *store.DB
	shipper *ship.Shipper
	rnd     *rand.Rand
	counts  map[string]float64
	clock   time.Time // of the next sample
	stored  int
}

// newBoard makes board number i below dir. Its samples begin at from.
func newBoard(ctx context.Context, dir string, i int, p plan, from time.Time) (_ *board, err error) {
	device := fmt.Sprintf("%s-%04d", p.name, i)
	b := &board{rnd: rand.New(rand.NewPCG(uint64(i), 1)), counts: map[string]float64{}, clock: from.Truncate(tick)}
	b.db, err = store.Open(ctx, filepath.Join(dir, device+".db"), store.Options{Device: device, Synchronous: "NORMAL"})
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.Device.ID = device
	if !p.spread {
		cfg.Device.ID = p.name // one phase for all: it is made of the device id
	}
	cfg.Remote.URL = p.url
	cfg.Remote.UploadInterval = p.interval
	cfg.Monitoring.ClockSkewURL = p.url
	d := status.Daemon{Name: "metrics-shipper", Version: "fleet", BootID: device, Started: time.Now()}
	b.shipper, err = ship.New(ctx, b.db, cfg, d, slog.New(slog.DiscardHandler), func() {})
	if err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	return b, nil
}

// measure stores what the board would measure within d.
func (b *board) measure(ctx context.Context, d time.Duration) error {
	var samples []metric.Sample
	for end := b.clock.Add(d); b.clock.Before(end); b.clock = b.clock.Add(tick) {
		samples = append(samples, b.sample(b.clock.UnixMilli())...)
	}
	n, err := b.db.Record(ctx, store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}})
	b.stored += n
	return err
}

// sample is one round of the default configuration on a board with eight cores
// and six links: about 60 samples in ten seconds.
func (b *board) sample(at int64) (all []metric.Sample) {
	add := func(v float64, name string, tags ...string) {
		all = append(all, metric.Sample{Name: name, Tags: metric.Tags(tags...), TimeMs: at, Value: metric.Round(v)})
	}
	count := func(most float64, name string, tags ...string) {
		key := name + metric.Tags(tags...)
		b.counts[key] += math.Floor(b.rnd.Float64() * most)
		add(b.counts[key], name, tags...)
	}
	for _, core := range []string{"all", "0", "1", "2", "3", "4", "5", "6", "7"} {
		add(math.Round(b.rnd.Float64()*6e4)/1e3, "cpu.usage_percent", "core", core)
	}
	add(math.Round(b.rnd.Float64()*600)/1e3, "cpu.iowait_percent", "core", "all")
	add(0, "cpu.steal_percent", "core", "all")
	for _, link := range []string{"eth0", "wwan0", "wwan1", "wwan2", "usb0", "usb1"} {
		count(2e5, "network.rx_bytes_total", "interface", link)
		count(2e6, "network.tx_bytes_total", "interface", link)
		count(2e3, "network.rx_packets_total", "interface", link)
		count(3e3, "network.tx_packets_total", "interface", link)
		add(0, "network.rx_errors_total", "interface", link)
		add(0, "network.tx_errors_total", "interface", link)
	}
	add(0, "network.interfaces_dropped_total")
	if at/tick.Milliseconds()%3 == 0 {
		for zone := range 7 {
			add(math.Round(40e3+b.rnd.Float64()*2e4)/1e3, "thermal.zone_temp", "zone", fmt.Sprint("zone", zone), "index", fmt.Sprint(zone))
		}
		add(math.Round(40e3+b.rnd.Float64()*2e4)/1e3, "cpu.temperature")
		used := math.Floor(b.rnd.Float64()*1e6) * 4096
		for name, v := range map[string]float64{"used": used, "available": 8e9 - used, "total": 8e9, "swap_used": 0, "swap_total": 0} {
			add(v, "memory."+name+"_bytes")
		}
		for _, disk := range []string{"mmcblk0", "nvme0n1"} {
			for _, what := range []string{"read_ops", "read_bytes", "write_ops", "write_bytes", "io_time_ms", "weighted_io_time_ms"} {
				count(5e3, "disk."+what+"_total", "device", disk)
			}
		}
		for _, span := range []string{"1", "5", "15"} {
			add(math.Round(b.rnd.Float64()*400)/100, "system.load"+span)
		}
	}
	if at/tick.Milliseconds()%6 == 0 {
		add(32e9, "disk.total_bytes", "mountpoint", "/")
		add(math.Floor(b.rnd.Float64()*1e4)*4096+5e9, "disk.used_bytes", "mountpoint", "/")
		add(math.Floor(b.rnd.Float64()*1e4)*4096+2e10, "disk.available_bytes", "mountpoint", "/")
		add(float64(at%1e9)/1000, "system.uptime_seconds")
	}
	return all
}

// counter returns one of the shipper's own counters.
func (b *board) counter(ctx context.Context, name string) (float64, error) {
	counts, err := b.db.Counters(ctx)
	for _, c := range counts {
		if c.Name == name {
			return c.Value, err
		}
	}
	return 0, err
}
