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
	// journalState is how much of the past tells the state at the first start.
	journalState = 10 * time.Minute
	// sayActive and sayCounts are how often what did not change is said again.
	sayActive = 30 * time.Second
	sayCounts = 5 * time.Minute
)

// streamEvents follows the systemd journal: what the encoder's units print, what
// the kernel says of devices, and what systemd says of units that failed.
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

	active     bool
	saidActive time.Time
	saidCounts time.Time
}

// streamState is what must survive a restart beside the counts.
type streamState struct {
	SeqnumID  string  `json:"seqnum_id,omitempty"`
	Seqnum    uint64  `json:"seqnum,omitempty"`
	Connected bool    `json:"connected,omitempty"`  // the last event of SRT said so
	BootID    string  `json:"boot_id,omitempty"`    // in which it did, by the journal
	KernelID  string  `json:"kernel_id,omitempty"`  // the same boot, by the kernel: in a container another
	LatencyMs float64 `json:"latency_ms,omitempty"` // that was negotiated
	SaidMs    int64   `json:"said_ms,omitempty"`    // when all counts were said last
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

// Collect is Observe for a caller that keeps nothing.
func (c *streamEvents) Collect(now time.Time) ([]metric.Sample, error) {
	boot, err := hostfs.BootTime()
	if err != nil {
		return nil, err
	}
	o, err := c.Observe(Moment{Wall: now, Boot: boot, ClockTrusted: true})
	return append(o.Samples, o.Earlier.Samples...), err
}

// Restore takes over the place in the journal and what was counted up to there.
func (c *streamEvents) Restore(k Kept) {
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

// Observe reads what is new in the journal.
//
// A line's time is its own: by the boot's monotonic clock, or as it was written
// where both agree. What was counted is said at that time; a counter is at least
// a millisecond younger than what was said of it before, so that it never goes
// back.
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
		c.say(now, &w, &r)
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

// follow begins to follow the journal where the last run stopped.
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

// count enters what was passed over.
func (c *streamEvents) count(r journal.Report) {
	c.counts.skip("old", r.Old)
	c.counts.skip("vanished", r.Vanished)
	for reason, n := range map[string]int{
		"restarted": r.Restarts, "compressed": r.Skipped.Compressed, "long": r.Skipped.Long, "damaged": r.Skipped.Damaged,
	} {
		c.counts.skip(reason, uint64(max(n, 0)))
	}
}

// line takes one line of the journal. Of what was there before the first start
// only the state counts.
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

// say says what holds now: whether the stream is on at once when that changes,
// everything else now and then.
func (c *streamEvents) say(now Moment, w *eventWriter, r *reading) {
	active, err := c.streaming(now)
	if err != nil {
		r.fault(err)
	} else if active != c.active || c.saidActive.IsZero() || overdue(c.saidActive, now.Wall, sayActive) {
		c.active, c.saidActive = active, now.Wall
		value := 0.0
		if active {
			value = 1
		}
		r.add("stream.active", "", value)
	}
	w.late(now)
	if !c.saidCounts.IsZero() && !overdue(c.saidCounts, now.Wall, sayCounts) {
		return
	}
	c.saidCounts = now.Wall
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
