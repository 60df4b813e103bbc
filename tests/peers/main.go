// Peers measures the three daemons and whatever else sends a machine's figures to
// VictoriaMetrics, side by side, each with a server of its own behind a proxy
// that counts: first in a steady stretch, then over an outage of the server, then
// over an outage in which the peer is killed.
//
// Needs Debian's victoria-metrics. Telegraf with what is used here is built in its
// sources by "go build -tags custom,inputs.cpu,inputs.mem,inputs.swap,inputs.system,\
// inputs.disk,inputs.diskio,inputs.net,inputs.temp,inputs.internal,inputs.timex,\
// inputs.kernel,inputs.nstat,inputs.cgroup,outputs.influxdb ./cmd/telegraf".
// TELEGRAF, COLLECTD (with COLLECTD_PLUGINS and
// COLLECTD_TYPES), NODE_EXPORTER and VMAGENT are paths; a program that is not
// there is skipped. With -check it measures ours, beside Telegraf if that is there,
// and fails when they cost more than they must.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// What -check allows. Each is the "must" of the peers' table in docs/decisions.md.
const (
	maxSwitches = 8.0 // a second
	maxResident = 34.0
	maxPss      = 33.0  // both in MiB
	maxWritten  = 150.0 // KiB a minute, to files
	maxLog      = 100.0 // KiB a day
	maxCPU      = 1.0   // of Telegraf's
	// Of the bytes on the wire, half go into requests and into naming the series,
	// whatever there is to say: how many come to a sample depends on how many links
	// and processors the machine has. A second request in each round would be 900 more.
	wireEach, wireEver = 6.0, 1250.0 // a sample, and a minute
)

// result is what one peer came to.
type result struct {
	name                    string
	use                     use
	length                  time.Duration
	samples, up, down, logs int64
	first                   time.Duration
	outage, kill            toll
}

// toll is what an outage cost.
type toll struct {
	expected, stored, doubled, bytes int64
}

func main() {
	steady := flag.Duration("steady", 3*time.Minute, "length of the steady stretch")
	outage := flag.Duration("outage", 2*time.Minute, "length of each outage, 0: none")
	settle := flag.Duration("settle", 75*time.Second, "wait before the steady stretch and after each outage")
	bin := flag.String("bin", "bin", "where our programs are")
	check := flag.Bool("check", false, "ours, beside Telegraf if it is there, against what they must cost")
	flag.Parse()
	all := peers(*bin)
	if *check {
		all, *outage = all[:2], 0
	}
	results := make(chan result)
	n := 0
	for _, p := range all {
		c, missing, err := begin(p)
		if missing != "" {
			fmt.Printf("%s: skipped, there is no %s\n", p.name, missing)
			continue
		}
		if err != nil {
			if c != nil {
				c.end()
			}
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		n++
		go func() {
			r, err := c.measure(context.Background(), *settle, *steady, *outage)
			c.end()
			if err != nil {
				fmt.Fprintln(os.Stderr, p.name+":", err)
			}
			results <- r
		}()
	}
	var done []result
	for range n {
		done = append(done, <-results)
	}
	print(done)
	if *check && !within(done) {
		os.Exit(1)
	}
}

func (c *contest) measure(ctx context.Context, settle, steady, outage time.Duration) (r result, err error) {
	r.name, r.length = c.name, steady
	if err := c.start(); err != nil {
		return r, err
	}
	if r.first, err = c.firstSample(ctx); err != nil {
		return r, err
	}
	time.Sleep(settle)
	before, err := c.use()
	if err != nil {
		return r, err
	}
	from, up, down, logs := time.Now(), c.proxy.up.Load(), c.proxy.down.Load(), c.logged()
	time.Sleep(steady)
	until := time.Now()
	after, err := c.use()
	if err != nil {
		return r, err
	}
	r.use, r.up, r.down, r.logs = after.since(before), c.proxy.up.Load()-up, c.proxy.down.Load()-down, c.logged()-logs
	time.Sleep(35 * time.Second) // what was taken in that stretch arrives
	if r.samples, err = c.stored(ctx, from, until); err != nil || outage == 0 {
		return r, err
	}
	if r.outage, err = c.over(ctx, r, outage, settle, false); err != nil {
		return r, err
	}
	r.kill, err = c.over(ctx, r, outage, settle, true)
	return r, err
}

func (c *contest) firstSample(ctx context.Context) (time.Duration, error) {
	for time.Since(c.began) < 2*time.Minute {
		if n, err := c.received(ctx); n > 0 || err != nil {
			return time.Since(c.began), err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return 0, fmt.Errorf("no sample in two minutes")
}

// over stops the server for a while, and kills the peer in the middle of it if asked to.
func (c *contest) over(ctx context.Context, r result, outage, settle time.Duration, kill bool) (t toll, err error) {
	before, err := c.received(ctx)
	if err != nil {
		return t, err
	}
	began := time.Now()
	stored, err := c.stored(ctx, c.began, began)
	if err != nil {
		return t, err
	}
	c.proxy.away()
	up := c.proxy.up.Load()
	time.Sleep(outage / 2)
	if kill {
		first := c.began
		c.stop(9)
		if err := c.start(); err != nil {
			return t, err
		}
		c.began = first
	}
	time.Sleep(outage / 2)
	ended := time.Now()
	if err := c.proxy.listen(); err != nil {
		return t, err
	}
	time.Sleep(settle)
	t.bytes = c.proxy.up.Load() - up
	if t.stored, err = c.stored(ctx, began, ended); err != nil {
		return t, err
	}
	t.expected = r.samples * int64(ended.Sub(began)) / int64(r.length)
	after, err := c.received(ctx)
	if err != nil {
		return t, err
	}
	all, err := c.stored(ctx, c.began, time.Now().Add(time.Hour))
	t.doubled = max(0, after-before-(all-stored))
	return t, err
}

func print(all []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsamples/min\tCPU ms/min\tanon MiB\tRSS MiB\tPss MiB\tswitches/s\twire B/sample\twire B/min\twritten KB/min\tlog KB/day\tfirst s\toutage: stored/expected, twice\tkill: stored/expected, twice\t")
	for _, r := range all {
		minutes := r.length.Minutes()
		fmt.Fprintf(w, "%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%.1f\t%d/%d, %d\t%d/%d, %d\t\n", r.name,
			float64(r.samples)/minutes, r.cpu(), float64(r.use.anon)/1024, r.resident(), float64(r.use.pss)/1024,
			r.switches(), r.wire(), float64(r.up+r.down)/minutes, r.written()/1024, r.logDay()/1024, r.first.Seconds(),
			r.outage.stored, r.outage.expected, r.outage.doubled, r.kill.stored, r.kill.expected, r.kill.doubled)
	}
	_ = w.Flush()
}

func (r result) cpu() float64      { return r.use.cpu.Seconds() * 1000 / r.length.Minutes() }
func (r result) resident() float64 { return float64(r.use.anon+r.use.file) / 1024 }
func (r result) switches() float64 { return float64(r.use.switches) / r.length.Seconds() }
func (r result) wire() float64     { return float64(r.up) / float64(max(r.samples, 1)) }
func (r result) written() float64  { return float64(r.use.written-r.up) / r.length.Minutes() }
func (r result) logDay() float64   { return float64(r.logs) * 24 * 60 / r.length.Minutes() }

// within says whether ours cost no more than they must.
func within(all []result) bool {
	of := map[string]result{}
	for _, r := range all {
		of[r.name] = r
	}
	r, good := of["ours"], true
	must := func(what string, got, most float64) {
		verdict := "ok"
		if got > most {
			verdict, good = "OVER", false
		}
		fmt.Printf("must: %s | %.4g | %g | %s\n", what, got, most, verdict)
	}
	if other, ok := of["telegraf"]; ok {
		must("CPU of the three, beside Telegraf's in the same run", r.cpu()/other.cpu(), maxCPU)
	} else {
		fmt.Println("must: CPU of the three, beside Telegraf's in the same run | | 1 | not measured: TELEGRAF names no program")
	}
	must("context switches a second", r.switches(), maxSwitches)
	must("resident memory of the three, MiB", r.resident(), maxResident)
	must("proportional memory (Pss) of the three, MiB", float64(r.use.pss)/1024, maxPss)
	samples := float64(r.samples) / r.length.Minutes()
	must(fmt.Sprintf("wire, B a minute at %.0f samples and %.1f B each, at most %.0f and %.0f each", samples, r.wire(), wireEver, wireEach),
		float64(r.up)/r.length.Minutes(), wireEver+wireEach*samples)
	must("written to files, KiB a minute", r.written()/1024, maxWritten)
	must("text in the log, KiB a day", r.logDay()/1024, maxLog)
	return good
}
