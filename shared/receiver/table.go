package receiver

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How much is remembered; everything beyond is only counted.
const (
	maxSeries      = 10_000
	maxSeriesBytes = 16 << 20 // of all series' texts
	maxRecent      = 10       // rejected lines shown
)

// table is a Receiver's counters and the newest value of each series.
type table struct {
	mu       sync.Mutex
	started  time.Time
	requests uint64 // imports, also those refused
	accepted uint64 // samples
	rejected uint64 // lines
	unlisted uint64 // samples of series for which there was no room
	series   map[string]newest
	bytes    int
	recent   []string // the last rejected lines, oldest first
}

type newest struct {
	value  float64
	timeMs int64
}

func newTable(now time.Time) *table {
	return &table{started: now, series: map[string]newest{}}
}

func (t *table) countRequest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
}

// add counts a batch and remembers the newest sample of each of its series.
func (t *table) add(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.accepted += uint64(b.samples)
	t.rejected += uint64(len(b.rejected))
	for _, l := range b.lines {
		was, known := t.series[l.series]
		if !known {
			if len(t.series) == maxSeries || t.bytes+len(l.series) > maxSeriesBytes {
				t.unlisted += uint64(len(l.values))
				continue
			}
			t.bytes += len(l.series)
		}
		for i, timeMs := range l.timestamps {
			if timeMs >= was.timeMs {
				was = newest{l.values[i], timeMs}
			}
		}
		t.series[l.series] = was
	}
	for _, r := range b.rejected[max(0, len(b.rejected)-maxRecent):] {
		t.recent = append(t.recent, fmt.Sprintf("line %d: %s", r.Line, r.Error))
	}
	t.recent = slices.Delete(t.recent, 0, max(0, len(t.recent)-maxRecent))
}

// serveSummary prints a summary for people.
func (r *Receiver) serveSummary(w http.ResponseWriter, _ *http.Request) {
	t := r.table
	t.mu.Lock()
	var text strings.Builder
	fmt.Fprintf(&text, "metrics-receiver, up %v\n\n%d requests, %d samples accepted, %d lines rejected, %d series\n",
		time.Since(t.started).Round(time.Second), t.requests, t.accepted, t.rejected, len(t.series))
	if t.unlisted > 0 {
		fmt.Fprintf(&text, "no room to list the series of %d further samples\n", t.unlisted)
	}
	if len(t.recent) > 0 {
		fmt.Fprintf(&text, "\nRejected last:\n  %s\n", strings.Join(t.recent, "\n  "))
	}
	recent := maps.Clone(t.series)
	t.mu.Unlock()

	fmt.Fprintf(&text, "\n%-24s  %22s  %s\n", "TIME", "VALUE", "SERIES")
	for _, series := range slices.Sorted(maps.Keys(recent)) {
		n := recent[series]
		fmt.Fprintf(&text, "%s  %22s  %s\n", formatTime(n.timeMs), formatValue(n.value), series)
	}
	answerText(w, text.String())
}

// serveMetrics prints the counters in Prometheus' text format.
func (r *Receiver) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	t := r.table
	t.mu.Lock()
	defer t.mu.Unlock()
	answerText(w, fmt.Sprintf(`# TYPE receiver_requests_total counter
receiver_requests_total %d
# TYPE receiver_rows_accepted_total counter
receiver_rows_accepted_total %d
# TYPE receiver_rows_rejected_total counter
receiver_rows_rejected_total %d
# TYPE receiver_series gauge
receiver_series %d
`, t.requests, t.accepted, t.rejected, len(t.series)))
}

// print writes every sample of a batch as one line, if Verbose is set.
func (r *Receiver) print(b *batch) {
	if r.verbose == nil {
		return
	}
	r.verboseMu.Lock()
	defer r.verboseMu.Unlock()
	out := bufio.NewWriter(r.verbose)
	for _, l := range b.lines {
		for i, v := range l.values {
			for _, s := range []string{formatTime(l.timestamps[i]), " ", l.series, " ", formatValue(v), "\n"} {
				io.WriteString(out, s) //nolint:errcheck // Flush returns it
			}
		}
	}
	if err := out.Flush(); err != nil {
		r.log.Warn("samples could not be printed; they are counted", "error", err)
	}
}

func formatTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
