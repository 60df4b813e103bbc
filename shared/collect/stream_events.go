package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
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

// machineID names the directory of this machine's journal: machine-id(5).
const machineID = "/etc/machine-id"

// journalDirs are where journald keeps its files: for good, and until the next boot.
var journalDirs = []string{"/var/log/journal", "/run/log/journal"}

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

	readable   bool // the journal could be read the last time
	active     bool
	saidActive time.Time
	saidCounts time.Time
	latency    float64 // that was said last
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
	at := c.follower.Cursor()
	report, err := c.follower.Poll(bounds, func(e journal.Entry, past bool) { c.line(&e, past, &w) })
	if errors.Is(err, journal.ErrAbsent) {
		c.readable, c.follower = false, nil
		return Observation{}, ErrNoData
	}
	c.count(report)
	if err != nil {
		c.readable = false
		r.fault(err)
	} else {
		c.readable = true
		c.say(now, &w, &r)
	}
	o.Samples = append(o.Samples, r.samples...)
	cursor := c.follower.Cursor()
	c.state.SeqnumID, c.state.Seqnum = cursor.SeqnumID.String(), cursor.Seqnum
	o.State, o.Soon = c.state, report.More
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
		id, err := hostfs.ReadValue(machineID)
		if err != nil {
			return nil, ErrNoData // a container without an identity has no journal of its own
		}
		dirs = nil
		for _, d := range journalDirs {
			dirs = append(dirs, filepath.Join(d, filepath.Base(id)))
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
		c.latency = h.latency
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

// streaming says whether the encoder streams: the journal alone would say so for
// ever, because a stop by the operator prints nothing.
func (c *streamEvents) streaming(now Moment) (bool, error) {
	if !c.state.Connected || !c.sameBoot(now) {
		return false, nil
	}
	_, listens, err := relaySocket(c.sockets, c.port)
	return listens, err
}

// sameBoot says whether the last word of SRT is of this boot: the journal's last
// line is, or nothing was written since the machine was looked at last.
func (c *streamEvents) sameBoot(now Moment) bool {
	if boot := c.follower.Boot(); boot != (journal.ID{}) {
		return c.state.BootID == boot.String()
	}
	return c.state.KernelID == now.BootID
}

// dashed is an id as the kernel writes it: /proc/sys/kernel/random/boot_id.
func dashed(id journal.ID) string {
	s := id.String()
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// relaySocket looks for the UDP socket on a local port: how many datagrams it
// dropped, and whether there is one.
func relaySocket(path string, port int) (dropped uint64, listens bool, err error) {
	data, err := hostfs.ReadFile(path)
	if err != nil {
		return 0, false, err
	}
	dropped, listens, err = parseUDP(data, port)
	if err != nil {
		err = fmt.Errorf("read %s: %w", path, err)
	}
	return dropped, listens, err
}

// parseUDP reads /proc/net/udp: a line a socket, its local address and port in
// hexadecimal second, the datagrams it dropped last.
// Source: udp4_format_sock in net/ipv4/udp.c.
func parseUDP(data []byte, port int) (dropped uint64, listens bool, err error) {
	var f faults
	var buf [13][]byte
	mark := fmt.Appendf(nil, ":%04X", port)
	first := true
	for line := range lines(data) {
		if first {
			first = false
			continue // the headings
		}
		fields := split(line, buf[:])
		if len(fields) < 2 {
			f.addf("line %s: %d fields; line skipped", quote(line), len(fields))
			continue
		}
		if !hasSuffix(fields[1], mark) {
			continue
		}
		listens = true
		if len(fields) < len(buf) {
			f.addf("line %s: %d fields, want %d; drops skipped", quote(line), len(fields), len(buf))
			continue
		}
		n, err := strconv.ParseUint(string(fields[12]), 10, 64)
		if err != nil {
			f.addf("line %s: %s is not a count; drops skipped", quote(line), quote(fields[12]))
			continue
		}
		dropped += n
	}
	if first {
		f.addf("empty")
	}
	return dropped, listens, f.err()
}

func hasSuffix(b, mark []byte) bool {
	return len(b) >= len(mark) && strings.EqualFold(string(b[len(b)-len(mark):]), string(mark))
}
