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

// packets reads what the processors took from the links, could not take, and
// left for another turn.
func (c *healthCollector) packets(r *reading) {
	data, err := hostfs.ReadFile(c.softnetStat)
	if absent(err) {
		return
	}
	if err != nil {
		r.fault(err)
		return
	}
	rows, err := parseSoftnet(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.softnetStat, err))
		if len(rows) == 0 {
			return
		}
	}
	total := c.softnet.sum(rows)
	r.add("softnet.processed_total", "", float64(total[0]))
	r.add("softnet.dropped_total", "", float64(total[1]))
	r.add("softnet.squeezed_total", "", float64(total[2]))
}

// softnetRow is one processor: packets taken, dropped because its queue was
// full, and times that it stopped with packets left.
type softnetRow struct {
	cpu    uint64
	counts [3]uint32
}

// parseSoftnet reads a row of hexadecimal counts for each processor that is
// online. Which one it is stands in the 13th column; before Linux 5.10 it is the
// number of the row. A row that is garbled is an error for that row only.
// Source: softnet_seq_show in net/core/net-procfs.c.
func parseSoftnet(data []byte) ([]softnetRow, error) {
	var rows []softnetRow
	var f faults
	seen := map[uint64]bool{}
	var buf [13][]byte
	n := uint64(0)
	for line := range lines(data) {
		fields := split(line, buf[:])
		row := softnetRow{cpu: n}
		n++
		err := row.parse(fields)
		if err == nil && seen[row.cpu] {
			err = fmt.Errorf("processor %d comes twice", row.cpu)
		}
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		seen[row.cpu] = true
		rows = append(rows, row)
	}
	if n == 0 {
		f.addf("empty; no counts of packets this round")
	}
	return rows, f.err()
}

func (s *softnetRow) parse(fields [][]byte) error {
	if len(fields) < len(s.counts) {
		return fmt.Errorf("%d counts, want 3", len(fields))
	}
	for i := range s.counts {
		v, err := strconv.ParseUint(string(fields[i]), 16, 32)
		if err != nil {
			return fmt.Errorf("%s is not a 32-bit hexadecimal count", quote(fields[i]))
		}
		s.counts[i] = uint32(v)
	}
	if len(fields) == 13 {
		cpu, err := strconv.ParseUint(string(fields[12]), 16, 32)
		if err != nil {
			return fmt.Errorf("%s is not a processor number", quote(fields[12]))
		}
		s.cpu = cpu
	}
	return nil
}

// softnetTotals adds up counts of 32 bits that begin again at 0, on a board that
// streams after some days, and rows that are gone while their processor is
// offline. Neither may look like a reset of the sum.
type softnetTotals struct {
	total [3]uint64
	last  map[uint64][3]uint32
}

func (s *softnetTotals) sum(rows []softnetRow) [3]uint64 {
	if s.last == nil {
		s.last = map[uint64][3]uint32{}
	}
	for _, row := range rows {
		last := s.last[row.cpu] // none: all of it is new
		for i, v := range row.counts {
			s.total[i] += uint64(v - last[i])
		}
		s.last[row.cpu] = row.counts
	}
	return s.total
}
