package collect

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// maxLinks, maxEventUnits and maxReasons bound the series of events. Further events
	// are counted together.
	maxLinks      = 16
	maxEventUnits = 32
	maxReasons    = 100
	// repeatEvery is how often an event that repeats gets a row in events; every one is
	// counted.
	repeatEvery = time.Minute
)

const (
	eventsTotal   = "stream.events_total"
	kernelTotal   = "kernel.events_total"
	failuresTotal = "unit.failures_total"
	exitsTotal    = "unit.exits_total"
	restartsTotal = "unit.restarts_scheduled_total"
	eventTime     = "stream.event_time_seconds"
	skippedTotal  = "stream.journal_skipped_total"
	droppedTotal  = "stream.events_dropped_total"
)

// An eventCount is one series of events.
type eventCount struct {
	total  float64
	saidMs int64         // time of the last sample
	at     float64       // Unix seconds of the last event; 0: not known
	onBoot time.Duration // its time on the boot clock, while the wall clock is not trusted
	rowMs  int64         // time of the last row for people
	folded int           // events since then that have no row
}

// eventCounts counts what happened. It is owned by one goroutine.
type eventCounts struct {
	all     map[eventKey]*eventCount
	skipped map[string]float64 // of the journal, by reason
	dropped float64
	floorMs int64 // no sample is to be older: an earlier run said something then
	changed bool  // since it was stored last
}

// skipReasons are the reasons for which lines of the journal are not read.
var skipReasons = []string{"old", "vanished", "restarted", "compressed", "long", "damaged"}

func newEventCounts() *eventCounts {
	c := &eventCounts{all: map[eventKey]*eventCount{}, skipped: map[string]float64{}}
	for name := range encoderEvents {
		c.all[eventKey{source: fromEncoder, name: name}] = &eventCount{}
	}
	for name := range kernelEvents {
		c.all[eventKey{source: fromKernel, name: name}] = &eventCount{}
	}
	for _, reason := range skipReasons {
		c.skipped[reason] = 0
	}
	return c
}

// series is the counter of an event.
func (k eventKey) series() (name, tags string) {
	switch {
	case k.source == fromKernel:
		return kernelTotal, metric.Tags("event", k.name)
	case k.name == unitFailed:
		return failuresTotal, metric.Tags("unit", k.unit, "result", k.reason)
	case k.name == unitExited:
		return exitsTotal, metric.Tags("unit", k.unit, "code", k.reason)
	case k.name == unitRestart:
		return restartsTotal, metric.Tags("unit", k.unit)
	}
	return eventsTotal, k.tags()
}

// tags are those of the time of the last event.
func (k eventKey) tags() string {
	pairs := []string{"event", k.name}
	for _, p := range [][2]string{{"reason", k.reason}, {"link", k.link}, {"unit", k.unit}} {
		if p[1] != "" {
			pairs = append(pairs, p[0], p[1])
		}
	}
	return metric.Tags(pairs...)
}

// keyOf is the reverse of tags, for what an earlier run stored.
func keyOf(tags string) (k eventKey, ok bool) {
	var t map[string]string
	if json.Unmarshal([]byte(tags), &t) != nil || t["event"] == "" {
		return k, false
	}
	k = eventKey{name: t["event"], reason: t["reason"], link: t["link"], unit: t["unit"]}
	switch {
	case k.unit != "":
		k.source = fromSystemd
	case kernelEvents[k.name] != "":
		k.source = fromKernel
	default:
		k.source = fromEncoder
	}
	return k, true
}

// of returns the count of an event; nil if there are too many already.
func (c *eventCounts) of(k eventKey) (e *eventCount, born bool) {
	if e := c.all[k]; e != nil {
		return e, false
	}
	links, units, reasons := map[string]bool{k.link: true}, map[string]bool{k.unit: true}, 1
	for have := range c.all {
		if have.link != "" {
			links[have.link] = true
		}
		if have.unit != "" {
			units[have.unit] = true
		}
		if have.reason != "" {
			reasons++
		}
	}
	delete(links, "")
	delete(units, "")
	if len(links) > maxLinks || len(units) > maxEventUnits || k.reason != "" && reasons > maxReasons {
		c.dropped++
		c.changed = true
		return nil, false
	}
	e = &eventCount{}
	c.all[k] = e
	return e, true
}

// follow adapts to the clock: when it was set, the times of the last samples are shifted
// as those samples are, so that later samples need not wait for a wrong time.
func (c *eventCounts) follow(now Moment, offset *time.Duration) {
	was := *offset
	*offset = time.Duration(now.Wall.UnixNano()) - now.Boot
	step := *offset - was
	if was == 0 {
		step = 0
	}
	if step.Abs() > clocksAgree/4 {
		for _, e := range c.all {
			if e.saidMs != 0 {
				e.saidMs += step.Milliseconds()
			}
		}
	}
	if c.floorMs > now.Wall.UnixMilli() {
		c.floorMs = 0
	}
}

// skip counts lines that were not read.
func (c *eventCounts) skip(reason string, n uint64) {
	if n > 0 {
		c.skipped[reason] += float64(n)
		c.changed = true
	}
}

// keys are the keys of all counts, sorted.
func (c *eventCounts) keys() []eventKey {
	return slices.SortedFunc(maps.Keys(c.all), func(a, b eventKey) int {
		return strings.Compare(a.source+a.tags(), b.source+b.tags())
	})
}

// kept are the counts for a later run.
func (c *eventCounts) kept() []metric.Count {
	var all []metric.Count
	for _, k := range c.keys() {
		e := c.all[k]
		name, tags := k.series()
		all = append(all, metric.Count{Name: name, Tags: tags, Value: e.total})
		if e.at > 0 {
			all = append(all, metric.Count{Name: eventTime, Tags: k.tags(), Value: e.at})
		}
	}
	for _, reason := range skipReasons {
		all = append(all, metric.Count{Name: skippedTotal, Tags: metric.Tags("reason", reason), Value: c.skipped[reason]})
	}
	return append(all, metric.Count{Name: droppedTotal, Value: c.dropped})
}

// restore takes over the counts of an earlier run.
func (c *eventCounts) restore(counts []metric.Count) {
	byUnit := map[string]string{failuresTotal: unitFailed, exitsTotal: unitExited, restartsTotal: unitRestart}
	for _, n := range counts {
		var t map[string]string
		if n.Tags != "" && json.Unmarshal([]byte(n.Tags), &t) != nil {
			continue
		}
		switch n.Name {
		case skippedTotal:
			if _, known := c.skipped[t["reason"]]; known {
				c.skipped[t["reason"]] = n.Value
			}
		case droppedTotal:
			c.dropped = n.Value
		case eventTime:
			if k, ok := keyOf(n.Tags); ok {
				if e, _ := c.of(k); e != nil {
					e.at = n.Value
				}
			}
		case eventsTotal, kernelTotal:
			if k, ok := keyOf(n.Tags); ok {
				if e, _ := c.of(k); e != nil {
					e.total = n.Value
				}
			}
		case failuresTotal, exitsTotal, restartsTotal:
			k := eventKey{source: fromSystemd, name: byUnit[n.Name], unit: t["unit"], reason: t["result"] + t["code"]}
			if e, _ := c.of(k); e != nil && k.unit != "" {
				e.total = n.Value
			}
		}
	}
	c.changed = false
}
