package inspect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// Exported is the result of an export.
type Exported struct {
	Samples int64
	Lines   int64
	Held    int64 // left out: their times are not trusted
	Refused int64 // left out: VictoriaMetrics would drop them
}

// Since reads the time at which an export begins: RFC 3339, or a duration before now such
// as 24h. Empty means the beginning.
func Since(text string, now time.Time) (ms int64, err error) {
	if text == "" {
		return math.MinInt64 + 1, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UnixMilli(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, fmt.Errorf("want a time such as 2026-01-31T12:00:00Z or a duration such as 24h, got %q", text)
	}
	return at.UnixMilli(), nil
}

// heldInMemory is how many samples are collected before lines are written. More samples
// give longer lines, each with the name of its series once.
const heldInMemory = 50000

// An exporter collects samples into one line for each series.
type exporter struct {
	w      *bufio.Writer
	now    int64
	labels []vmjson.Label
	out    Exported
	count  int
	lines  map[int64]*line
	buf    []byte
}

type line struct {
	head   []byte
	bad    bool
	values []float64
	times  []int64
}

// Export writes the samples from sinceMs on as JSON lines, roughly in the order of their
// times, with further labels on each. Its memory does not depend on their number. Held
// samples, texts, and samples that VictoriaMetrics would drop are left out and counted.
func Export(ctx context.Context, w io.Writer, path string, sinceMs int64, labels ...vmjson.Label) (Exported, error) {
	r, err := store.OpenReader(ctx, path, store.ReadOptions{Still: true})
	if err != nil {
		return Exported{}, err
	}
	defer r.Close()
	e := &exporter{
		w: bufio.NewWriterSize(metric.NewCleanWriter(w), 1<<16), now: time.Now().UnixMilli(), labels: labels,
		lines: map[int64]*line{},
	}
	if err := r.Stored(ctx, sinceMs, e.add); err != nil {
		return e.out, err
	}
	if err := e.flush(); err != nil {
		return e.out, err
	}
	return e.out, e.w.Flush()
}

func (e *exporter) add(s store.Stored) error {
	if s.State == store.Held {
		e.out.Held++
		return nil
	}
	l := e.lines[s.Series.ID]
	if l == nil {
		head, err := vmjson.Head(metric.WireName(s.Series.Name), s.Series.Device, s.Series.Tags, e.labels...)
		l = &line{head: head, bad: err != nil}
		e.lines[s.Series.ID] = l
	}
	if l.bad || vmjson.CheckSample(s.Value, s.TimeMs, e.now, 0) != nil {
		e.out.Refused++
		return nil
	}
	l.values, l.times = append(l.values, s.Value), append(l.times, s.TimeMs)
	if e.count++; e.count >= heldInMemory {
		return e.flush()
	}
	return nil
}

func (e *exporter) flush() error {
	ids := make([]int64, 0, len(e.lines))
	for id, l := range e.lines {
		if len(l.values) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		l := e.lines[id]
		e.buf = vmjson.Append(e.buf[:0], l.head, l.values, l.times)
		if _, err := e.w.Write(e.buf); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		e.out.Lines++
		e.out.Samples += int64(len(l.values))
		l.values, l.times = l.values[:0], l.times[:0]
	}
	e.count = 0
	return nil
}
