package collect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// networkCollector reads the counters of network interfaces.
type networkCollector struct {
	path     string
	links    config.Links
	most     int
	reported map[string]bool // interfaces of the last round
	dropped  uint64          // left out since the start, summed over the rounds
}

func newNetwork(roots hostfs.Roots, cfg config.MetricConfig, key string) (*networkCollector, error) {
	c := &networkCollector{path: roots.ProcPath("net", "dev"), most: cfg.MaxInterfaces}
	var wrong error
	if c.links, wrong = cfg.Links(key); c.most < 1 {
		wrong = errors.Join(wrong, fmt.Errorf("%s.max_interfaces: must be at least 1, got %d", key, c.most))
	}
	if wrong != nil {
		return nil, wrong
	}
	return c, nil
}

// Collect returns the six network counters of each interface that is included,
// or of all when no list is given, and not excluded; and, always,
// network.interfaces_dropped_total, the interfaces left out because there were
// more than max_interfaces, added up over the rounds.
//
// Counters are the kernel's own. If one begins again at 0 because a modem was plugged in
// again, it is reported so, because rate() at the server handles resets.
func (c *networkCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	found, err := interfaces(data, c.links.Match)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.path, err))
	}
	chosen := c.choose(found)
	c.dropped += uint64(len(found) - len(chosen))
	for _, i := range chosen {
		tags := metric.Tags("interface", distinct(i.Name))
		r.add("network.rx_bytes_total", tags, float64(i.RxBytes))
		r.add("network.tx_bytes_total", tags, float64(i.TxBytes))
		r.add("network.rx_packets_total", tags, float64(i.RxPackets))
		r.add("network.tx_packets_total", tags, float64(i.TxPackets))
		r.add("network.rx_errors_total", tags, float64(i.RxErrors))
		r.add("network.tx_errors_total", tags, float64(i.TxErrors))
	}
	r.add("network.interfaces_dropped_total", "", float64(c.dropped))
	return r.done()
}

// interfaces returns the wanted interfaces of /proc/net/dev.
func interfaces(data []byte, wanted func(name []byte) bool) (found []hostfs.Interface, err error) {
	var f faults
	for i, err := range hostfs.NetDev(data, wanted) {
		if err != nil {
			f.fault(err)
			continue
		}
		found = append(found, i)
	}
	return found, f.err()
}

// choose returns at most max_interfaces of the interfaces, by name. Those of the
// last round come first: a series that is being watched does not end because a
// hundred tunnels appeared whose names sort before it. Free places go to the
// others by name, so that the choice does not depend on the kernel's order, which
// changes when a modem is plugged in again.
func (c *networkCollector) choose(found []hostfs.Interface) []hostfs.Interface {
	slices.SortFunc(found, func(a, b hostfs.Interface) int { return strings.Compare(a.Name, b.Name) })
	chosen := make([]hostfs.Interface, 0, min(len(found), c.most))
	for _, known := range []bool{true, false} {
		for _, i := range found {
			if c.reported[i.Name] == known && len(chosen) < c.most {
				chosen = append(chosen, i)
			}
		}
	}
	c.reported = make(map[string]bool, len(chosen))
	for _, i := range chosen {
		c.reported[i.Name] = true
	}
	slices.SortFunc(chosen, func(a, b hostfs.Interface) int { return strings.Compare(a.Name, b.Name) })
	return chosen
}
