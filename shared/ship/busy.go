package ship

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// maxKnownLinks bounds the links whose counts are kept, those that went away
// included.
const maxKnownLinks = 256

// A traffic watches how much others send over the board's links.
type traffic struct {
	limit float64 // bits a second, 0: not looked at
	roots hostfs.Roots
	links config.Links

	at         time.Time
	sent       map[string]uint64 // bytes by link, nil: never looked at
	own        int64             // bytes of ours, at the same time
	busy       bool
	unreadable bool // the last look failed, which was said
}

// newTraffic watches the links that network.traffic reads.
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

// measure says whether others sent more than the limit since the last look, own
// being the bytes that we sent so far. Two looks within a second are one.
func (t *traffic) measure(now time.Time, own int64) (busy bool, err error) {
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
		// Ours are counted above TCP and IP, the links' below.
		others := float64(grown) - 1.1*float64(own-t.own)
		t.busy = others*8/passed.Seconds() > t.limit
	}
	t.at, t.own = now, own
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

// grown returns by how much the links' counts went up since the last look, and
// keeps them. A link that is plugged in again counts from 0; one that went away is
// remembered, for it may only have been out of sight.
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
