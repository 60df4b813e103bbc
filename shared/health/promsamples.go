package health

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// maxLatest bounds the series at /metrics.
	maxLatest = 5000
	// minFresh and maxFresh bound how old a sample may be that is shown as the present
	// value: some self-metrics come only every 5 minutes.
	minFresh = 6 * time.Minute
	maxFresh = time.Hour
	// ahead is how far ahead of the clock a sample may be: the clock is read at
	// the beginning of a round.
	ahead = time.Minute
)

// freshFor is how long the newest sample of a series counts as its present value: two
// intervals of the slowest collector.
func freshFor(t Thresholds) time.Duration {
	longest := time.Duration(0)
	for _, e := range t.Expected {
		longest = max(longest, e.Interval)
	}
	return min(max(minFresh, 2*longest), maxFresh)
}

// newest returns the newest sample of every series that has a present value, and what
// this process uses itself. With sent, names and values are those that are sent.
func (s *Server) newest(r *http.Request, sent bool) string {
	use, err := s.watch.host.Self()
	if err != nil {
		s.log.Debug("some of this process's resources cannot be read; they are left out", "error", err)
	}
	found := s.runQuery(r, func(ctx context.Context, db *store.Reader) (reply, error) {
		now := time.Now()
		all, err := db.Latest(ctx, now.Add(-freshFor(s.watch.thresholds)).UnixMilli(), now.Add(ahead).UnixMilli(), maxLatest)
		if err != nil {
			return reply{}, err
		}
		return text(http.StatusOK, samplesExposition(all, use.samples(), sent)), nil
	})
	if found.status != http.StatusOK { // a reason says why
		return samplesExposition(nil, use.samples(), sent)
	}
	return found.body
}

// samples are the resources of this process, as the other daemons store theirs.
func (u ProcessUse) samples() (all []store.Latest) {
	for name, value := range map[string]float64{
		"process.cpu_seconds_total": u.CPUSeconds, "process.resident_memory_bytes": float64(u.ResidentBytes), "process.written_bytes_total": float64(u.WrittenBytes),
	} {
		if value >= 0 {
			all = append(all, store.Latest{Series: store.Series{Name: name, Tags: metric.Tags("daemon", "metrics-health")}, Value: value})
		}
	}
	return all
}

// samplesExposition writes gauges and counters in Prometheus' text format, without times.
// With sent, they have the names by which they are sent; otherwise those whose unit is
// not a base unit are converted, and their help has the name by which they are sent.
func samplesExposition(stored, own []store.Latest, sent bool) string {
	families := map[string][]store.Latest{}
	for _, l := range slices.Concat(stored, own) {
		if e, ok := metric.Lookup(l.Name); ok && e.Kind != metric.Histogram && metric.Finite(l.Value) {
			wire := metric.WireName(l.Name)
			families[wire] = append(families[wire], l)
		}
	}
	var x exposition
	for _, wire := range slices.Sorted(maps.Keys(families)) {
		family := families[wire]
		e, _ := metric.Lookup(family[0].Name)
		name, divisor, help := wire, 1., e.Help
		if !sent {
			name, divisor = e.InBaseUnit()
		}
		if name != wire {
			help += " Sent as " + wire + "."
		}
		x.family(name, string(e.Kind), help)
		seen := map[string]bool{}
		for _, l := range family {
			labels := labelsOf(l)
			if key := strings.Join(labels, "\x00"); labels != nil && !seen[key] {
				seen[key] = true
				x.value(l.Value/divisor, labels...)
			}
		}
	}
	return x.b.String()
}

// labelsOf returns the device and the tags of a sample; nil if they cannot be
// labels.
func labelsOf(l store.Latest) []string {
	tags := map[string]string{}
	if err := json.Unmarshal([]byte(cmp.Or(l.Tags, "{}")), &tags); err != nil {
		return nil // of a damaged row
	}
	labels := []string{}
	if l.Device != "" {
		labels = append(labels, "device_id", l.Device)
	}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		if !metric.TagName(name) {
			return nil
		}
		labels = append(labels, name, tags[name])
	}
	return labels
}
