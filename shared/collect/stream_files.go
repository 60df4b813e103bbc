package collect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// linkStats is the sender's statistics of its links.
type linkStats struct {
	updatedMs int64
	links     []linkStat
}

// A linkStat is one link with the values that it has.
type linkStat struct {
	id     int
	values []namedValue
}

type namedValue struct {
	name  string
	value float64
}

// linkValues are the keys of a connection, with their metrics. Bitrate_bps is in bits a
// second here; the sender's control socket has bytes under that name.
// Source: src/telemetry_file.rs of irlserver/srtla_send.
var linkValues = []struct{ key, name string }{
	{"rtt_ms", "stream.link_rtt_ms"},
	{"nak_count", "stream.link_nak_total"},
	{"window", "stream.link_window_packets"},
	{"in_flight", "stream.link_in_flight_packets"},
	{"bitrate_bps", "stream.link_bits_per_second"},
	{"weight_percent", "stream.link_weight_percent"},
}

// parseLinkStats reads the sender's statistics. Keys it does not know are ignored,
// keys that are missing are missing values. It does not quote what it reads.
func parseLinkStats(data []byte) (s linkStats, err error) {
	var file struct {
		Updated     *int64                       `json:"last_updated_ms"`
		Connections []map[string]json.RawMessage `json:"connections"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return s, errors.New("not the JSON of the sender's statistics, or cut off")
	}
	if file.Updated == nil || *file.Updated <= 0 || *file.Updated > math.MaxInt64/1_000_000 {
		return s, errors.New("no time of its last update in it")
	}
	s.updatedMs = *file.Updated
	seen := map[int]bool{}
	for i, c := range file.Connections {
		id, err := strconv.ParseUint(strings.Trim(string(c["conn_id"]), `"`), 10, 16)
		if err != nil {
			return s, fmt.Errorf("connection %d of it has no conn_id", i)
		}
		if seen[int(id)] {
			return s, fmt.Errorf("connection %d of it comes twice", id)
		}
		seen[int(id)] = true
		l := linkStat{id: int(id)}
		for _, v := range linkValues {
			raw, there := c[v.key]
			if !there || string(raw) == "null" {
				continue
			}
			n, err := strconv.ParseFloat(string(raw), 64)
			if err != nil || !(n >= 0) || n > 1e15 {
				return s, fmt.Errorf("%s of connection %d is not a valid value", v.key, id)
			}
			l.values = append(l.values, namedValue{v.name, n})
		}
		s.links = append(s.links, l)
	}
	return s, nil
}

// parseLinkList reads the addresses that the stream is sent from, one a line.
// Lines that are no address count and have no name.
func parseLinkList(data []byte) []string {
	var names []string
	for line := range lines(data) {
		names = append(names, address(strings.TrimSpace(string(line))))
		if len(names) > 1<<10 {
			break
		}
	}
	return names
}

// parseBitrate reads the two lines of belacoder's bitrate file, in bits a second.
func parseBitrate(data []byte) (low, high float64, err error) {
	var found []float64
	for line := range lines(data) {
		n, err := whole(bytes.TrimSpace(line))
		if err != nil || n == 0 || n > 1_000_000_000 {
			return 0, 0, fmt.Errorf("line %d is not a bitrate", len(found)+1)
		}
		found = append(found, float64(n))
	}
	if len(found) != 2 {
		return 0, 0, fmt.Errorf("%d lines, want the lowest and the highest bitrate", len(found))
	}
	return found[0], found[1], nil
}

// A network is one that an interface is connected to.
type network struct {
	prefix netip.Prefix
	iface  string
}

// parseRoutes reads the networks of /proc/net/route: interface, destination,
// gateway, flags, four numbers of which the last is the mask; addresses as the
// machine has them in memory. Routes over a gateway and broken lines are
// skipped, because this only finds names.
// Source: fib_route_seq_show in net/ipv4/fib_trie.c.
func parseRoutes(data []byte) []network {
	var all []network
	var buf [8][]byte
	for line := range lines(data) {
		fields := split(line, buf[:])
		if len(fields) < len(buf) || string(fields[2]) != "00000000" {
			continue
		}
		to, ok1 := routeAddress(fields[1])
		mask, ok2 := routeAddress(fields[7])
		iface, err := name(fields[0])
		if !ok1 || !ok2 || err != nil || mask == netip.AddrFrom4([4]byte{}) {
			continue
		}
		bits := 0
		for _, b := range mask.As4() {
			for ; b&0x80 != 0; b <<= 1 {
				bits++
			}
		}
		if p, err := to.Prefix(bits); err == nil {
			all = append(all, network{p, iface})
		}
	}
	return all
}

func routeAddress(field []byte) (netip.Addr, bool) {
	var b [4]byte
	if len(field) != 8 {
		return netip.Addr{}, false
	}
	if _, err := hex.Decode(b[:], field); err != nil {
		return netip.Addr{}, false
	}
	var ip [4]byte
	binary.LittleEndian.PutUint32(ip[:], binary.BigEndian.Uint32(b[:]))
	return netip.AddrFrom4(ip), true
}

// interfaceOf returns the interface in whose network an address lies, "" where
// there is none or more than one: two modems may give the same addresses.
func interfaceOf(link string, networks []network) (iface string) {
	ip, err := netip.ParseAddr(link)
	if err != nil {
		return ""
	}
	for _, n := range networks {
		if !n.prefix.Contains(ip) || n.iface == iface {
			continue
		}
		if iface != "" {
			return ""
		}
		iface = n.iface
	}
	return iface
}
