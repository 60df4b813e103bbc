package collect

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// maxMegabits bounds the speed of a link: a thousand gigabits a second.
const maxMegabits = 1_000_000

// healthCollector reads what happened to the links and to datagrams.
type healthCollector struct {
	net, snmp, softnetStat string
	links                  *networkCollector // which interfaces are wanted
	chosen                 choice
	softnet                softnetTotals
	speeds                 seldom
}

func newNetHealth(roots hostfs.Roots, cfg config.MetricConfig, key string) (*healthCollector, error) {
	links, err := newNetwork(roots, cfg, key)
	if err != nil {
		return nil, err
	}
	return &healthCollector{
		net: roots.SysPath("class", "net"), snmp: roots.ProcPath("net", "snmp"), softnetStat: roots.ProcPath("net", "softnet_stat"),
		links: links, chosen: choice{most: cfg.MaxInterfaces},
	}, nil
}

// Collect returns the state of each interface, the kernel's counts of datagrams,
// and those of packets that it had no time for.
func (c *healthCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	wanted := slices.DeleteFunc(r.list(c.net), func(n string) bool { return !c.links.links.Match([]byte(n)) })
	speeds := c.speeds.due()
	for _, n := range c.chosen.of(wanted) {
		c.link(&r, n, speeds)
	}
	c.datagrams(&r)
	c.packets(&r)
	r.dropped("network.health", &c.chosen)
	return r.done()
}

// link reads one interface. A file of another kind lies there too (that of the
// bonding driver): it has none of the attributes, and gives no samples.
// Source: Documentation/ABI/testing/sysfs-class-net.
func (c *healthCollector) link(r *reading, iface string, speeds bool) {
	dir := filepath.Join(c.net, iface)
	label, ok := r.tag(dir, iface)
	if !ok {
		return
	}
	tags := metric.Tags("interface", label)
	if state, ok := r.text(dir, "operstate"); ok {
		up, err := linkUp(state)
		if err != nil {
			r.addf("read %s/operstate: %w; value skipped", dir, err)
		} else {
			r.add("network.up", tags, up)
		}
	}
	r.counter("network.carrier_changes_total", tags, dir, "carrier_changes")
	if speeds {
		c.speed(r, tags, dir)
	}
	r.counter("network.rx_dropped_total", tags, dir, "statistics", "rx_dropped")
	r.counter("network.tx_dropped_total", tags, dir, "statistics", "tx_dropped")
}

// linkUp reads an operational state (RFC 2863). Drivers that never set one, as
// those of modems do, say unknown for as long as the interface is up.
func linkUp(state string) (float64, error) {
	switch state {
	case "up", "unknown":
		return 1, nil
	case "down", "lowerlayerdown", "dormant", "testing", "notpresent":
		return 0, nil
	}
	return 0, fmt.Errorf("%s is not a state of an interface", quote([]byte(state)))
}

// speed reads megabits a second. Where nothing is known of it the kernel
// answers EINVAL, -1, or -1 taken for a number without a sign.
func (c *healthCollector) speed(r *reading, tags, dir string) {
	value, err := hostfs.ReadValue(filepath.Join(dir, "speed"))
	if absent(err) || errors.Is(err, syscall.EINVAL) {
		return
	}
	var v int64
	if err == nil {
		v, err = strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			err = fmt.Errorf("%s is not a whole number", quote([]byte(value)))
		case v == -1 || v == 0 || v == 65535 || v == 4294967295:
			return
		case v < 0 || v > maxMegabits:
			err = fmt.Errorf("%d is not a plausible link speed", v)
		}
	}
	if err != nil {
		r.addf("read the speed in %s: %w; value skipped", dir, err)
		return
	}
	r.add("network.speed_mbps", tags, float64(v))
}

// datagrams reads the kernel's counts of UDP.
func (c *healthCollector) datagrams(r *reading) {
	data, err := hostfs.ReadFile(c.snmp)
	if absent(err) {
		return
	}
	if err != nil {
		r.fault(err)
		return
	}
	counts, err := parseSNMP(data, "Udp:")
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.snmp, err))
	}
	for _, of := range []struct{ column, name string }{
		{"InDatagrams", "udp.in_datagrams_total"},
		{"OutDatagrams", "udp.out_datagrams_total"},
		{"NoPorts", "udp.no_ports_total"},
		{"InErrors", "udp.in_errors_total"},
		{"RcvbufErrors", "udp.rcvbuf_errors_total"},
		{"SndbufErrors", "udp.sndbuf_errors_total"},
		{"InCsumErrors", "udp.csum_errors_total"},
	} {
		if v, ok := counts[of.column]; ok {
			r.add(of.name, "", float64(v))
		}
	}
}

// parseSNMP reads the two lines of one protocol, names and then counts. Old
// kernels have fewer columns. A count that is garbled is an error for that one
// only; counts without a name, and names without a count, are left alone with
// an error.
// Source: proc_pid_net(5); net/ipv4/proc.c.
func parseSNMP(data []byte, protocol string) (map[string]uint64, error) {
	var rows [][][]byte
	for line := range lines(data) {
		if kind, rest, _ := bytes.Cut(line, []byte(" ")); string(kind) == protocol {
			rows = append(rows, bytes.Fields(rest))
		}
	}
	if len(rows) != 2 {
		return nil, fmt.Errorf("%d lines of %s want 2; no counts this round", len(rows), protocol)
	}
	var f faults
	if len(rows[0]) != len(rows[1]) {
		f.addf("%d names and %d counts of %s; those without the other are skipped", len(rows[0]), len(rows[1]), protocol)
	}
	counts := map[string]uint64{}
	for i := range min(len(rows[0]), len(rows[1])) {
		v, err := whole(rows[1][i])
		if err != nil {
			f.addf("%s %s: %w; count skipped", protocol, quote(rows[0][i]), err)
			continue
		}
		counts[string(rows[0][i])] = v
	}
	return counts, f.err()
}
