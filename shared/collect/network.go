package collect

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// networkCollector reads the counters of network interfaces.
type networkCollector struct {
	path             string
	include, exclude []*regexp.Regexp
	most             int
	reported         map[string]bool // interfaces of the last round
	dropped          uint64          // left out since the start, summed over the rounds
}

func newNetwork(roots hostfs.Roots, cfg config.MetricConfig, key string) (*networkCollector, error) {
	c := &networkCollector{path: roots.ProcPath("net", "dev"), most: cfg.MaxInterfaces}
	var wrong []error
	compile := func(key string, patterns []string) []*regexp.Regexp {
		var compiled []*regexp.Regexp
		for i, p := range patterns {
			re, err := wholeName(p)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s[%d]: %w", key, i, err))
				continue
			}
			compiled = append(compiled, re)
		}
		return compiled
	}
	c.include = compile(key+".include_ifaces", cfg.IncludeIfaces)
	c.exclude = compile(key+".exclude_ifaces", cfg.ExcludeIfaces)
	if c.most < 1 {
		wrong = append(wrong, fmt.Errorf("%s.max_interfaces: must be at least 1, got %d", key, c.most))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return c, nil
}

// Collect returns the six network counters of each interface that is included,
// or of all when no list is given, and not excluded; and, always,
// network.interfaces_dropped_total, the interfaces left out because there were
// more than max_interfaces, added up over the rounds.
//
// Counters are the kernel's own. When one begins again at 0 (a modem was plugged
// in anew) that is reported as it stands: rate() at the server knows resets, and
// an interface that fell silent until it passed its old count would be worse.
func (c *networkCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	found, err := parseNetDev(data, c.wanted)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.path, err))
	}
	chosen := c.choose(found)
	c.dropped += uint64(len(found) - len(chosen))
	for _, i := range chosen {
		tags := metric.Tags("interface", i.name)
		r.add("network.rx_bytes_total", tags, float64(i.rxBytes))
		r.add("network.tx_bytes_total", tags, float64(i.txBytes))
		r.add("network.rx_packets_total", tags, float64(i.rxPackets))
		r.add("network.tx_packets_total", tags, float64(i.txPackets))
		r.add("network.rx_errors_total", tags, float64(i.rxErrors))
		r.add("network.tx_errors_total", tags, float64(i.txErrors))
	}
	r.add("network.interfaces_dropped_total", "", float64(c.dropped))
	return r.done()
}

func (c *networkCollector) wanted(name []byte) bool {
	match := func(re *regexp.Regexp) bool { return re.Match(name) }
	if len(c.include) > 0 && !slices.ContainsFunc(c.include, match) {
		return false
	}
	return !slices.ContainsFunc(c.exclude, match)
}

// choose returns at most max_interfaces of the interfaces, by name. Those of the
// last round come first: a series that is being watched does not end because a
// hundred tunnels appeared whose names sort before it. Free places go to the
// others by name, so that the choice does not hang on the kernel's order, which
// changes when a modem is plugged in anew.
func (c *networkCollector) choose(found []netInterface) []netInterface {
	slices.SortFunc(found, func(a, b netInterface) int { return strings.Compare(a.name, b.name) })
	chosen := make([]netInterface, 0, min(len(found), c.most))
	for _, known := range []bool{true, false} {
		for _, i := range found {
			if c.reported[i.name] == known && len(chosen) < c.most {
				chosen = append(chosen, i)
			}
		}
	}
	c.reported = make(map[string]bool, len(chosen))
	for _, i := range chosen {
		c.reported[i.name] = true
	}
	slices.SortFunc(chosen, func(a, b netInterface) int { return strings.Compare(a.name, b.name) })
	return chosen
}

// netInterface is one line of /proc/net/dev.
type netInterface struct {
	name                         string
	rxBytes, rxPackets, rxErrors uint64
	txBytes, txPackets, txErrors uint64
}

// parseNetDev reads the lines of the interfaces that wanted says yes to: a name,
// a colon, eight counts of receiving and eight of sending. The name ends at the
// last colon, because an alias (eth0:1) has one itself, and no space need follow.
// A line that is too short, garbled or of an interface that came before is an
// error for that line only; so is an empty file, for the two lines of headings,
// which have bars and no colon, are always there.
// Source: proc_pid_net(5); dev_seq_printf_stats in net/core/net-procfs.c.
func parseNetDev(data []byte, wanted func(name []byte) bool) ([]netInterface, error) {
	var found []netInterface
	var f faults
	seen := map[string]bool{}
	empty := true
	for line := range lines(data) {
		empty = false
		colon := bytes.LastIndexByte(line, ':')
		if colon < 0 {
			if bytes.IndexByte(line, '|') < 0 {
				f.addf("line %s: no colon after a name; line skipped", quote(line))
			}
			continue
		}
		label := bytes.Trim(line[:colon], " \t")
		if !wanted(label) {
			continue
		}
		i, err := parseInterface(label, line[colon+1:])
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		if seen[i.name] {
			f.addf("line %s: %s comes twice; the first counts", quote(line), i.name)
			continue
		}
		seen[i.name] = true
		found = append(found, i)
	}
	if empty {
		f.addf("empty; no interfaces this round")
	}
	return found, f.err()
}

func parseInterface(label, counts []byte) (netInterface, error) {
	iface, err := name(label)
	if err != nil {
		return netInterface{}, err
	}
	var buf [16][]byte
	fields := split(counts, buf[:])
	if len(fields) < len(buf) {
		return netInterface{}, fmt.Errorf("%d counts, want %d", len(fields), len(buf))
	}
	var v [16]uint64
	if err := wholes(fields, 1, v[:]); err != nil {
		return netInterface{}, err
	}
	return netInterface{
		name:    iface,
		rxBytes: v[0], rxPackets: v[1], rxErrors: v[2],
		txBytes: v[8], txPackets: v[9], txErrors: v[10],
	}, nil
}
