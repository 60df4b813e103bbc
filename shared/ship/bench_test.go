package ship

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// A board makes the samples of the default configuration as a board with 8
// cores, a disk and 5 links has them: about 60 in 10 seconds.
type board struct {
	rnd      *rand.Rand
	counters map[string]float64
}

func (b *board) count(name string, most float64) float64 {
	b.counters[name] += math.Floor(b.rnd.Float64() * most)
	return b.counters[name]
}

// tick returns the samples of one beat of 10 seconds.
func (b *board) tick(at int64) (samples []metric.Sample) {
	add := func(v float64, name string, tags ...string) {
		samples = append(samples, metric.Sample{Name: name, Tags: metric.Tags(tags...), TimeMs: at, Value: metric.Round(v)})
	}
	percent := func() float64 { return math.Round(b.rnd.Float64()*60_000) / 1000 }
	for core := range 8 {
		add(percent(), "cpu.usage_percent", "core", fmt.Sprint(core))
	}
	add(percent(), "cpu.usage_percent", "core", "all")
	add(percent()/100, "cpu.iowait_percent", "core", "all")
	add(0, "cpu.steal_percent", "core", "all")
	for _, link := range []string{"eth0", "wwan0", "wwan1", "usb0", "wlan0"} {
		add(b.count("rx"+link, 200_000), "network.rx_bytes_total", "interface", link)
		add(b.count("tx"+link, 2_000_000), "network.tx_bytes_total", "interface", link)
		add(b.count("rxp"+link, 2000), "network.rx_packets_total", "interface", link)
		add(b.count("txp"+link, 3000), "network.tx_packets_total", "interface", link)
		add(0, "network.rx_errors_total", "interface", link)
		add(0, "network.tx_errors_total", "interface", link)
	}
	add(0, "network.interfaces_dropped_total")
	if at/10_000%3 == 0 {
		add(math.Round(b.rnd.Float64()*20_000)/1000+40, "cpu.temperature")
		for zone := range 7 {
			add(math.Round(b.rnd.Float64()*20_000)/1000+40, "thermal.zone_temp", "zone", fmt.Sprint("zone", zone), "index", fmt.Sprint(zone))
		}
		used := math.Floor(b.rnd.Float64()*1e6) * 4096
		add(used, "memory.used_bytes")
		add(8e9-used, "memory.available_bytes")
		add(8e9, "memory.total_bytes")
		add(0, "memory.swap_used_bytes")
		add(0, "memory.swap_total_bytes")
		for _, what := range []string{"read_ops", "read_bytes", "write_ops", "write_bytes", "io_time_ms", "weighted_io_time_ms"} {
			add(b.count(what, 5000)*512, "disk."+what+"_total", "device", "mmcblk0")
		}
		for _, span := range []string{"1", "5", "15"} {
			add(math.Round(b.rnd.Float64()*400)/100, "system.load"+span)
		}
	}
	if at/10_000%6 == 0 {
		add(32e9, "disk.total_bytes", "mountpoint", "/")
		add(math.Floor(b.rnd.Float64()*1e4)*4096+5e9, "disk.used_bytes", "mountpoint", "/")
		add(math.Floor(b.rnd.Float64()*1e4)*4096+2e10, "disk.available_bytes", "mountpoint", "/")
		add(float64(at%1e9)/1000, "system.uptime_seconds")
	}
	return samples
}

// fill stores at least n samples that end now and returns how many.
func fill(tb testing.TB, db *store.DB, n int) (stored int) {
	tb.Helper()
	brd := &board{rand.New(rand.NewPCG(1, 1)), map[string]float64{}}
	perTick := len(brd.tick(0))*3/5 + 1
	at := time.Now().UnixMilli()/10_000*10_000 - int64(n/perTick+1)*10_000
	for stored < n {
		var samples []metric.Sample
		for range 50 {
			if stored+len(samples) < n {
				samples = append(samples, brd.tick(at)...)
				at += 10_000
			}
		}
		got, err := db.Record(context.Background(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}})
		if err != nil {
			tb.Fatal(err)
		}
		stored += got
	}
	return stored
}

// startVictoria starts a real VictoriaMetrics, or skips the test where there is
// none, and returns its address and what kills it.
func startVictoria(tb testing.TB, data string) (base string, kill func()) {
	tb.Helper()
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		tb.Skip("victoria-metrics is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	return "http://" + addr, runVictoria(tb, program, data, addr)
}

func runVictoria(tb testing.TB, program, data, addr string) (kill func()) {
	tb.Helper()
	cmd := exec.Command(program, "-storageDataPath="+data, "-httpListenAddr="+addr, "-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y", "-loggerLevel=ERROR")
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	tb.Cleanup(kill)
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/health"); err == nil {
			resp.Body.Close()
			return kill
		}
		if time.Since(begun) > 30*time.Second {
			tb.Fatal("VictoriaMetrics does not answer")
		}
	}
}

// flush makes VictoriaMetrics show what it has; an export that is asked for too
// early is remembered as empty for 10 s.
func flush(t *testing.T, base string) {
	t.Helper()
	resp, err := http.Get(base + "/internal/force_flush")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// BenchmarkEncode is encoding and compressing chunks of batch_size.
func BenchmarkEncode(b *testing.B) {
	bench := newBench(b, "http://server.example/api/v1/import")
	fill(b, bench.db, 50_000)
	var chunks [][]store.Row
	var at store.Cursor
	for {
		rows, err := bench.db.Backlog(b.Context(), nil, &at, math.MaxInt64, false, 2500)
		if err != nil {
			b.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		chunks = append(chunks, rows)
	}
	e := encoder{compress: true}
	var c chunk
	samples, bytes := 0, 0
	for b.Loop() {
		for _, rows := range chunks {
			if _, err := e.pack(&c, rows, maxChunkBytes, timeRule{}); err != nil {
				b.Fatal(err)
			}
			samples += len(c.rows)
			bytes += len(c.body)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
	b.ReportMetric(float64(bytes)/float64(samples), "B/sample")
}

// BenchmarkRounds is what rounds of 30 seconds cost on the wire, headers
// included.
func BenchmarkRounds(b *testing.B) {
	base, _ := startVictoria(b, b.TempDir())
	bench := newBench(b, base+"/api/v1/import")
	bench.ship.chunks.limit = 2500
	brd := &board{rand.New(rand.NewPCG(1, 1)), map[string]float64{}}
	at := time.Now().UnixMilli()/60_000*60_000 - 30_000
	samples := 0
	bench.round()
	before := bench.ship.client.link.sent.Load()
	for b.Loop() {
		var all []metric.Sample
		for range 3 {
			at += 10_000
			all = append(all, brd.tick(at)...)
		}
		n, err := bench.db.Record(b.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: all}}})
		if err != nil {
			b.Fatal(err)
		}
		samples += n
		if err := bench.round(); err != nil {
			b.Fatal(err)
		}
		bench.ship.chunks.limit = 2500
		if at > time.Now().UnixMilli()+24*3600_000 {
			at -= 48 * 3600_000
		}
	}
	b.ReportMetric(float64(bench.ship.client.link.sent.Load()-before)/float64(samples), "B/sample")
	b.ReportMetric(float64(samples)/float64(b.N), "samples/round")
}

// BenchmarkDrain empties a backlog of 300,000 samples into a real
// VictoriaMetrics.
func BenchmarkDrain(b *testing.B) {
	base, _ := startVictoria(b, b.TempDir())
	var rates []float64
	var bytes, samples float64
	for b.Loop() {
		b.StopTimer()
		bench := newBench(b, base+"/api/v1/import")
		n := fill(b, bench.db, 300_000)
		b.StartTimer()
		start := time.Now()
		delivered, err := bench.ship.Drain(b.Context())
		if err != nil || delivered != n {
			b.Fatalf("%d of %d: %v", delivered, n, err)
		}
		rates = append(rates, float64(n)/time.Since(start).Seconds())
		bytes += float64(bench.ship.client.link.sent.Load())
		samples += float64(n)
	}
	slices.Sort(rates)
	b.ReportMetric(rates[len(rates)/2], "samples/s")
	b.ReportMetric(rates[len(rates)-1], "best-samples/s")
	b.ReportMetric(bytes/samples, "B/sample")
}

// BenchmarkPendingQuery reads the newest chunk of a million pending samples.
func BenchmarkPendingQuery(b *testing.B) {
	bench := newBench(b, "http://server.example/api/v1/import")
	fill(b, bench.db, 1_000_000)
	var rows []store.Row
	for b.Loop() {
		var err error
		if rows, err = bench.db.NewestSince(b.Context(), rows[:0], math.MinInt64, store.Except{}, 2500); err != nil || len(rows) != 2500 {
			b.Fatal(len(rows), err)
		}
	}
	use, err := hostfs.Self()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(use.ResidentBytes)/(1<<20), "MiB")
}

// What VictoriaMetrics acknowledged and lost to a kill is sent again.
func TestKilledVictoriaMetricsMissesNothingInTheEnd(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	base, kill := startVictoria(t, data)
	bench := newBench(t, base+"/api/v1/import", func(c *config.Config) { c.Remote.BatchSize = 500 })
	for i := range 30 {
		bench.record(5, "a", "b", "c")
		err := bench.round()
		if i%10 == 7 {
			kill()
			bench.record(1, "a")
			if bench.round() == nil {
				t.Error("delivered to a dead server")
			}
			program, _ := exec.LookPath("victoria-metrics")
			kill = runVictoria(t, program, data, base[len("http://"):])
		} else if err != nil {
			t.Fatal(err)
		}
	}
	bench.round()
	p, _, _ := bench.states()
	if len(p) != 0 {
		t.Errorf("%d pending", len(p))
	}
	flush(t, base)
	v, err := bench.ship.Verify(t.Context(), time.Hour, false, VisibleAfter)
	if err != nil || !v.Good() || v.Delivered != 453 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestVerifyFindsWhatIsMissingAndRepairsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	base, _ := startVictoria(t, t.TempDir())
	bench := newBench(t, base+"/api/v1/import")
	const visible = 2 * time.Second
	bench.record(20, "gone", "kept")
	if err := bench.round(); err != nil {
		t.Fatal(err)
	}
	flush(t, base)
	v, err := bench.ship.Verify(t.Context(), time.Hour, false, visible)
	if err != nil || !v.Good() || v.Delivered != 40 {
		t.Errorf("%v, %v", v, err)
	}
	resp, err := http.Post(base+"/api/v1/admin/tsdb/delete_series?match[]=gone", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	v, err = bench.ship.Verify(t.Context(), time.Hour, false, visible)
	if err != nil || v.Missing != 20 || v.Good() {
		t.Errorf("%v, %v", v, err)
	}
	v, err = bench.ship.Verify(t.Context(), time.Hour, true, VisibleAfter)
	if err != nil || !v.Good() || v.Repaired != 20 {
		t.Errorf("%v, %v", v, err)
	}
}
