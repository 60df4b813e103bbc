package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/promtext"
	"github.com/taniwha3/thugshells/shared/sampling"
)

// A printer prints new readings of the collectors.
type printer struct{ prometheus bool }

func (v *printer) flags(fs *flag.FlagSet) {
	fs.BoolVar(&v.prometheus, "prometheus", false, "with -print: in Prometheus' text format, under the names at the server")
}

func (v *printer) command() daemon.Command {
	return daemon.Command{
		Flag: "print", Args: "[NAME...]", Run: v.run,
		Help: "take readings now and print them: all, or those of the collectors and metrics `NAME`...; the database is not used",
	}
}

func (v *printer) run(ctx context.Context, p *daemon.Process) (exit int, err error) {
	roots := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}
	all, err := collect.All(p.Config, roots, p.Version)
	if err != nil {
		return 2, err
	}
	wanted := all
	if isCollector := func(n string) bool {
		return slices.ContainsFunc(all, func(c collect.Scheduled) bool { return c.Name == n })
	}; !slices.ContainsFunc(p.Args, func(n string) bool { return !isCollector(n) }) && len(p.Args) > 0 {
		wanted = slices.DeleteFunc(all, func(c collect.Scheduled) bool { return !slices.Contains(p.Args, c.Name) })
	}
	readings, err := sampling.ReadNow(ctx, wanted)
	if err != nil {
		return 1, err
	}
	var faults []error
	var samples []metric.Sample
	met := map[string]bool{}
	for _, r := range readings {
		if collect.Failed(r.Err) > 0 {
			faults = append(faults, fmt.Errorf("%s: %w", r.Collector, r.Err))
		}
		for _, name := range p.Args {
			met[name] = met[name] || name == r.Collector
		}
		samples = append(samples, slices.DeleteFunc(r.Samples,
			func(s metric.Sample) bool { return !chosen(p.Args, r.Collector, s.Name, met) })...)
	}
	for _, name := range p.Args {
		if !met[name] {
			faults = append(faults, fmt.Errorf("%q is not an enabled collector, and no collector returned a metric of this name", name))
		}
	}
	if err := v.write(p, newest(samples)); err != nil {
		return 1, err
	}
	if err := errors.Join(faults...); err != nil {
		return 1, fmt.Errorf("not everything could be read: %w", err)
	}
	return 0, nil
}

// newest returns the last sample of each series, in the order in which the series
// come first: a collector that reads a log returns what it tells of the past too.
func newest(samples []metric.Sample) []metric.Sample {
	type series struct{ name, tags string }
	places := map[series]int{}
	all := samples[:0:0]
	for _, s := range samples {
		at, known := places[series{s.Name, s.Tags}]
		switch {
		case !known:
			places[series{s.Name, s.Tags}] = len(all)
			all = append(all, s)
		case s.TimeMs >= all[at].TimeMs:
			all[at] = s
		}
	}
	return all
}

// chosen says whether a sample is to be printed, and notes in met which names
// were met.
func chosen(names []string, collector, metricName string, met map[string]bool) bool {
	found := len(names) == 0
	for _, n := range names {
		if n == collector || n == metricName || n == metric.WireName(metricName) {
			met[n], found = true, true
		}
	}
	return found
}

func (v *printer) write(p *daemon.Process, samples []metric.Sample) error {
	out := metric.NewCleanWriter(p.Stdout)
	if v.prometheus {
		var text bytes.Buffer
		if err := promtext.Write(&text, samples); err != nil {
			return err
		}
		_, err := out.Write(text.Bytes())
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range samples {
		e, _ := metric.Lookup(s.Name) // of the operator's own metrics no unit is known
		line := strings.Join([]string{
			s.Name, metric.OneLine(s.Tags, 1000), strconv.FormatFloat(s.Value, 'f', -1, 64),
			e.Unit,
		}, "\t")
		if _, err := fmt.Fprintln(table, strings.TrimRight(line, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}
