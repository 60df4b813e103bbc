package collect

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// journalEntries and journalBack bound what one round reads of the journal.
	journalEntries = 2000
	journalBack    = 24 * time.Hour
	// journalState is how much of the past is read at the first start, for the state.
	journalState = 10 * time.Minute
	// activeEvery and countsEvery are how often values are reported that did not change.
	activeEvery = 30 * time.Second
	countsEvery = 5 * time.Minute
)

// streamEvents follows the systemd journal: messages of the encoder's units, of the kernel
// about devices, and of systemd about units that failed.
type streamEvents struct {
	sockets  string // /proc/net/udp
	port     int    // of the relay
	dir      string // of the journal; "": this machine's
	units    map[string]bool
	want     journal.Selection
	follower *journal.Follower

	state  streamState
	counts *eventCounts
	unsure string        // a boot whose clock was not trusted
	offset time.Duration // wall less boot clock at the last Observe

	active   bool
	activeAt time.Time
	countsAt time.Time
}

// streamState is what survives a restart besides the counts.
type streamState struct {
	SeqnumID  string  `json:"seqnum_id,omitempty"`
	Seqnum    uint64  `json:"seqnum,omitempty"`
	Connected bool    `json:"connected,omitempty"`  // by the last message about SRT
	BootID    string  `json:"boot_id,omitempty"`    // of that message, by the journal
	KernelID  string  `json:"kernel_id,omitempty"`  // the same boot, by the kernel; different in a container
	LatencyMs float64 `json:"latency_ms,omitempty"` // negotiated
	SaidMs    int64   `json:"said_ms,omitempty"`    // when all counts were last reported
}

func newStreamEvents(roots hostfs.Roots, cfg config.MetricConfig) *streamEvents {
	c := &streamEvents{
		sockets: roots.ProcPath("net", "udp"), port: cfg.RelayPort, dir: cfg.Journal,
		units: map[string]bool{}, counts: newEventCounts(),
		want: journal.Selection{
			Any:    []string{"_TRANSPORT=kernel", "MESSAGE_ID=" + idFailed, "MESSAGE_ID=" + idExited, "MESSAGE_ID=" + idRestart},
			Fields: wantedFields,
		},
	}
	for _, u := range cfg.Units {
		c.units[u] = true
		c.want.Any = append(c.want.Any, "_SYSTEMD_UNIT="+u)
	}
	return c
}

// Collect is Observe for a caller that stores no state.
func (c *streamEvents) Collect(now time.Time) ([]metric.Sample, error) {
	boot, err := hostfs.BootTime()
	if err != nil {
		return nil, err
	}
	o, err := c.Observe(Moment{Wall: now, Boot: boot, ClockTrusted: true})
	return append(o.Samples, o.Earlier.Samples...), err
}

// Restore takes over the place in the journal and the counts up to there.
func (c *streamEvents) Restore(k LastRun) {
	var s streamState
	if json.Unmarshal([]byte(k.State), &s) == nil {
		c.state = s
	}
	c.counts.restore(k.Counts)
	c.counts.floorMs = c.state.SaidMs
	if !k.ClockTrusted {
		c.unsure = k.BootID
	}
}

// Observe reads the new lines of the journal.
//
// A line has its own time: by the boot's monotonic clock, or as it was written if both
// agree. A counter is reported at that time, and at least a millisecond after its last
// sample, so that it never goes back.
func (c *streamEvents) Observe(now Moment) (o Observation, err error) {
	if c.follower == nil {
		if c.follower, err = c.follow(); err != nil {
			return o, err
		}
	}
	r := newReading(now.Wall)
	t, err := newTimes(now)
	if err != nil {
		return o, err
	}
	t.unsure = c.unsure
	w := eventWriter{counts: c.counts, times: t, o: &o}
	c.counts.follow(now, &c.offset)
	bounds := journal.Bounds{Entries: journalEntries, Recent: now.Wall.Add(-journalState)}
	if now.ClockTrusted {
		bounds.Since = now.Wall.Add(-journalBack)
		bounds.BootID, bounds.BootSince = t.boot, t.monotonic-journalBack
	}
	at, was := c.follower.Cursor(), c.active
	report, err := c.follower.Poll(bounds, func(e journal.Entry, past bool) { c.line(&e, past, &w) })
	if errors.Is(err, journal.ErrAbsent) {
		c.follower = nil
		return Observation{}, ErrNoData
	}
	c.count(report)
	if err != nil {
		r.fault(err)
	} else {
		c.report(now, &w, &r)
	}
	o.Samples = append(o.Samples, r.samples...)
	cursor := c.follower.Cursor()
	c.state.SeqnumID, c.state.Seqnum = cursor.SeqnumID.String(), cursor.Seqnum
	o.State, o.Soon = c.state, report.More
	o.Wait = c.active == was && !o.Soon
	if c.counts.changed || at.SeqnumID != cursor.SeqnumID {
		o.Counts, o.Keep, c.counts.changed = c.counts.kept(), true, false
	}
	if err := r.err(); err != nil {
		return o, err
	}
	if len(o.Samples)+len(o.Events)+len(o.Earlier.Samples)+len(o.Earlier.Events) == 0 {
		return o, ErrNoData
	}
	return o, nil
}

// follow starts to follow the journal where the last run stopped.
func (c *streamEvents) follow() (*journal.Follower, error) {
	dirs := []string{c.dir}
	if c.dir == "" {
		if dirs = journal.Here(); dirs == nil {
			return nil, ErrNoData // a container without an identity has no journal of its own
		}
	}
	var at journal.Cursor
	if id, err := journal.ParseID(c.state.SeqnumID); err == nil {
		at = journal.Cursor{SeqnumID: id, Seqnum: c.state.Seqnum}
	}
	return journal.Follow(dirs, c.want, at), nil
}

// count counts the lines that were not read.
func (c *streamEvents) count(r journal.Report) {
	c.counts.skip("old", r.Old)
	c.counts.skip("vanished", r.Vanished)
	for reason, n := range map[string]int{
		"restarted": r.Restarts, "compressed": r.Skipped.Compressed, "long": r.Skipped.Long, "damaged": r.Skipped.Damaged,
	} {
		c.counts.skip(reason, uint64(max(n, 0)))
	}
}

// line handles one line of the journal. Lines from before the first start change only the
// state.
func (c *streamEvents) line(e *journal.Entry, past bool, w *eventWriter) {
	h, ok := readLine(e, c.units)
	if !ok {
		return
	}
	switch h.name {
	case srtConnected:
		c.state.Connected, c.state.BootID, c.state.KernelID = true, e.BootID.String(), w.times.now.BootID
		if h.latency > 0 {
			c.state.LatencyMs = h.latency
		}
	case srtFailed, srtNotConnected, pipelineStarted:
		c.state.Connected = false
	case unitFailed, unitExited:
		if c.units[h.unit] {
			c.state.Connected = false
		}
	}
	if past {
		return
	}
	at := w.times.of(e)
	if h.counts {
		w.event(h, at)
	}
	switch {
	case h.bitrate > 0:
		w.gauge("stream.bitrate_max_bps", h.bitrate, at)
	case h.latency > 0:
		w.gauge("stream.latency_ms", h.latency, at)
	}
}

// report adds present values: whether the stream is on as soon as that changes, everything
// else from time to time.
func (c *streamEvents) report(now Moment, w *eventWriter, r *reading) {
	active, err := c.streaming(now)
	if err != nil {
		r.fault(err)
	} else if active != c.active || c.activeAt.IsZero() || overdue(c.activeAt, now.Wall, activeEvery) {
		c.active, c.activeAt = active, now.Wall
		value := 0.0
		if active {
			value = 1
		}
		r.add("stream.active", "", value)
	}
	w.late(now)
	if !c.countsAt.IsZero() && !overdue(c.countsAt, now.Wall, countsEvery) {
		return
	}
	c.countsAt = now.Wall
	c.state.SaidMs = now.Wall.UnixMilli()
	c.counts.floorMs = 0
	c.counts.changed = true // so that a later run knows
	w.all(now)
	if active && c.state.LatencyMs > 0 {
		r.add("stream.latency_ms", "", c.state.LatencyMs)
	}
}

// overdue says whether it is time again, also after the clock was set back.
func overdue(last, now time.Time, every time.Duration) bool {
	return now.Sub(last) >= every-every/20 || now.Before(last)
}
