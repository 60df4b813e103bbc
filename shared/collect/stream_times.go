package collect

import (
	"fmt"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// clocksAgree is how far a line's wall clock may differ from its monotonic clock if
	// both are right; drift is added for each day.
	clocksAgree = 2 * time.Second
	// futureBy is how far beyond now the time of another boot may be.
	futureBy = time.Minute
)

// noTimeBefore is the earliest time that a right clock can show.
var noTimeBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// times finds the times of lines of the journal.
type times struct {
	now       Moment
	boot      journal.ID
	monotonic time.Duration // CLOCK_MONOTONIC
	unsure    string        // a boot whose clock was not trusted
}

// A lineTime is when a line was written.
type lineTime struct {
	ms      int64
	onBoot  time.Duration // on the boot clock; for lines of this boot
	earlier bool          // in an earlier boot
	known   bool
}

func newTimes(now Moment) (times, error) {
	monotonic, err := hostfs.MonotonicTime()
	if err != nil {
		return times{}, err
	}
	t := times{now: now, monotonic: monotonic}
	if id, err := journal.ParseID(strings.ReplaceAll(now.BootID, "-", "")); err == nil {
		t.boot = id
	}
	return t, nil
}

// of finds the time of a line. A line of this boot gets its time from the present wall
// clock; like every other sample it is corrected when the clock turns out to be wrong. A
// line of an earlier boot has the time that was written, unless that is impossible.
func (t times) of(e *journal.Entry) lineTime {
	written := time.UnixMicro(int64(min(e.Realtime, 1<<62))) //nolint:gosec // bounded
	if t.boot == (journal.ID{}) || e.BootID != t.boot {
		known := !written.Before(noTimeBefore) && dashed(e.BootID) != t.unsure &&
			(!t.now.ClockTrusted || written.Before(t.now.Wall.Add(futureBy)))
		return lineTime{ms: written.UnixMilli(), earlier: true, known: known}
	}
	on := time.Duration(min(e.Monotonic, 1<<52))*time.Microsecond + max(t.now.Boot-t.monotonic, 0) //nolint:gosec // bounded
	on = min(on, t.now.Boot)
	at := t.now.Wall.Add(on - t.now.Boot)
	// A clock without corrections drifts by about 50 parts in a million.
	if allowed := clocksAgree + (t.now.Boot-on)/10000; t.now.ClockTrusted && written.Sub(at).Abs() <= allowed && !written.After(t.now.Wall) {
		at = written
	}
	return lineTime{ms: at.UnixMilli(), onBoot: max(on, 1), known: true}
}

// An eventWriter adds events to the counts and to the rows that are stored.
type eventWriter struct {
	counts *eventCounts
	times  times
	o      *Observation
}

// list is the list for samples of a time.
func (w *eventWriter) list(earlier bool) *[]metric.Sample {
	if earlier {
		return &w.o.Earlier.Samples
	}
	return &w.o.Samples
}

func (w *eventWriter) gauge(name string, value float64, at lineTime) {
	if !at.known {
		return
	}
	put(w.list(at.earlier), name, "", value, at.ms)
}

// put adds a sample. Of the samples of one series within a second only the last is kept,
// because the encoder writes a line for each packet that cannot be sent.
func put(list *[]metric.Sample, name, tags string, value float64, ms int64) {
	s := metric.Sample{Name: name, Tags: tags, TimeMs: ms, Value: metric.Round(value)}
	for i := len(*list) - 1; i >= 0 && i >= len(*list)-4*maxLinks; i-- {
		if have := &(*list)[i]; have.Name == name && have.Tags == tags {
			if value >= have.Value && have.Value > 0 && ms/1000 == have.TimeMs/1000 {
				*have = s
				return
			}
			break
		}
	}
	*list = append(*list, s)
}

// event counts one event, adds the sample at its time, and a row for people.
func (w *eventWriter) event(h happening, at lineTime) {
	w.counts.changed = true
	c, born := w.counts.of(h.eventKey)
	if c == nil {
		return
	}
	// An event whose time is not known is counted now.
	nowMs := w.times.now.Wall.UnixMilli()
	ms, earlier := at.ms, at.earlier
	if !at.known {
		ms, earlier = nowMs, false
	}
	name, tags := h.series()
	said := max(ms, c.saidMs+1, w.counts.floorMs+1)
	if born || c.total == 0 && c.saidMs == 0 && w.counts.floorMs == 0 {
		put(w.list(earlier), name, tags, 0, said)
		said++
	}
	c.total++
	put(w.list(earlier), name, tags, c.total, said)
	c.saidMs = said
	if !at.known {
		return
	}
	w.date(h.eventKey, c, at)
	c.folded++
	if c.rowMs == 0 || max(at.ms-c.rowMs, c.rowMs-at.ms) >= repeatEvery.Milliseconds() {
		w.row(h, c, at)
	}
}

// date adds the time of the last event. While the wall clock is not trusted this waits,
// because a value cannot be corrected later.
func (w *eventWriter) date(k eventKey, c *eventCount, at lineTime) {
	if !at.earlier && !w.times.now.ClockTrusted {
		c.onBoot = at.onBoot
		return
	}
	// Hundredths, because the server keeps twelve digits.
	c.at, c.onBoot = float64(at.ms/10)/100, 0
	put(w.list(at.earlier), eventTime, k.tags(), c.at, at.ms)
}

// late adds the times that waited for the clock.
func (w *eventWriter) late(now Moment) {
	if !now.ClockTrusted {
		return
	}
	for k, c := range w.counts.all {
		if c.onBoot > 0 {
			w.date(k, c, lineTime{ms: now.Wall.Add(c.onBoot - now.Boot).UnixMilli(), onBoot: c.onBoot, known: true})
			w.counts.changed = true
		}
	}
}

// row adds a row about an event, with its number since the last row.
func (w *eventWriter) row(h happening, c *eventCount, at lineTime) {
	text := h.words()
	if c.folded > 1 {
		text += fmt.Sprintf(" (%d times)", c.folded)
	}
	c.rowMs, c.folded = at.ms, 0
	reason := h.reason
	if h.unit != "" && reason != "" {
		reason = h.unit + " " + reason
	} else if h.unit != "" {
		reason = h.unit
	}
	e := metric.Event{TimeMs: at.ms, Source: h.source, Name: h.name, Reason: reason, Link: h.link, Text: text}.Bounded()
	if at.earlier {
		w.o.Earlier.Events = append(w.o.Earlier.Events, e)
	} else {
		w.o.Events = append(w.o.Events, e)
	}
}

// all adds the present value of every count.
func (w *eventWriter) all(now Moment) {
	ms := now.Wall.UnixMilli()
	add := func(name, tags string, value float64) {
		w.o.Samples = append(w.o.Samples, metric.Sample{Name: name, Tags: tags, TimeMs: ms, Value: metric.Round(value)})
	}
	for _, k := range w.counts.keys() {
		c := w.counts.all[k]
		if c.saidMs >= ms {
			continue // said just now
		}
		name, tags := k.series()
		add(name, tags, c.total)
		c.saidMs = ms
	}
	for _, reason := range skipReasons {
		add(skippedTotal, metric.Tags("reason", reason), w.counts.skipped[reason])
	}
	add(droppedTotal, "", w.counts.dropped)
}

// dashed is an id as the kernel writes it: /proc/sys/kernel/random/boot_id.
func dashed(id journal.ID) string {
	s := id.String()
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}
