package ship

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// maxKnownLinks bounds the links whose counts are remembered, including links that
// went away.
const maxKnownLinks = 256

// A traffic measures how much other programs send over the board's links.
type traffic struct {
	limit float64 // bits a second, 0: not measured
	roots hostfs.Roots
	links config.Links

	at         time.Time
	sent       map[string]uint64 // bytes by link, nil: not measured yet
	ours       int64             // bytes that this process had sent at the same time
	busy       bool
	unreadable bool // the last measurement failed, and this was logged
}

// newTraffic measures the links that network.traffic reads.
func newTraffic(c config.Config) (*traffic, error) {
	t := &traffic{limit: float64(c.Remote.BusyKbps) * 1000, roots: hostfs.Roots{Proc: c.Host.Procfs, Sys: c.Host.Sysfs}}
	which := config.DefaultMetricConfig("network.traffic")
	for _, m := range c.Metrics {
		if m.Name == "network.traffic" {
			which = m.Config
		}
	}
	var err error
	t.links, err = which.Links("network.traffic")
	return t, err
}

// measure says whether other programs sent more than the limit since the last
// measurement, at least a second ago. Ours is the bytes that this process sent so far.
func (t *traffic) measure(now time.Time, ours int64) (busy bool, err error) {
	if t.limit == 0 {
		return false, nil
	}
	passed := now.Sub(t.at)
	if !t.at.IsZero() && passed < time.Second {
		return t.busy, nil
	}
	sent, err := t.read()
	if err != nil {
		return false, fmt.Errorf("read the links' traffic: %w", err)
	}
	grown := t.grown(sent)
	if !t.at.IsZero() {
		// Ours are counted without the headers of TCP and IP.
		others := float64(grown) - 1.1*float64(ours-t.ours)
		t.busy = others*8/passed.Seconds() > t.limit
	}
	t.at, t.ours = now, ours
	return t.busy, nil
}

// read returns the bytes that each of the board's own links sent. A line that
// cannot be read costs only its link.
func (t *traffic) read() (map[string]uint64, error) {
	data, err := hostfs.ReadFile(t.roots.ProcPath("net", "dev"))
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	var names []string
	var faults []error
	for i, err := range hostfs.NetDev(data, func(name []byte) bool { return string(name) != "lo" && t.links.Match(name) }) {
		switch {
		case err == nil:
			all[i.Name] = i.TxBytes
			names = append(names, i.Name)
		case len(faults) < 3:
			faults = append(faults, err)
		}
	}
	if len(names) == 0 && len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	sent := make(map[string]uint64, len(names))
	for _, name := range t.roots.OwnLinks(names) {
		sent[name] = all[name]
	}
	return sent, nil
}

// grown returns by how much the links' counts grew since the last measurement, and
// remembers them. A link that is plugged in again counts from 0. One that went away is
// remembered, because its count may continue when it comes back.
func (t *traffic) grown(sent map[string]uint64) (sum uint64) {
	for name, n := range sent {
		if last := t.sent[name]; n >= last {
			n -= last
		}
		sum += n
	}
	if len(t.sent)+len(sent) > maxKnownLinks {
		t.sent = nil
	}
	if t.sent == nil {
		t.sent = make(map[string]uint64, len(sent))
	}
	maps.Copy(t.sent, sent)
	return sum
}
