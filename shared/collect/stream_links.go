package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// boundTmp is where the unit binds the system's /tmp, read-only: its own is
	// another one.
	boundTmp = "/run/belabox-metrics-tmp"
	// staleAfter is from when on what the sender wrote says nothing any more: it
	// writes each second.
	staleAfter = 5 * time.Second
	// maxEncoderFile bounds the encoder's files: a link takes some 150 bytes.
	maxEncoderFile = 64 << 10
)

// streamLinks reads the files by which belacoder and srtla_send tell of the stream
// and of each link that it is sent over.
type streamLinks struct {
	dir     string // of the files; "": the system's /tmp
	port    int    // of the relay
	sockets string // /proc/net/udp
	routes  string // /proc/net/route
	dropped uint64 // links left out since the start, summed over the rounds
}

func newStreamLinks(roots hostfs.Roots, cfg config.MetricConfig) *streamLinks {
	return &streamLinks{
		dir: cfg.TmpDir, port: cfg.RelayPort, sockets: roots.ProcPath("net", "udp"),
		routes: roots.ProcPath("net", "route"),
	}
}

// Collect returns what the sender's statistics say of each link, the bitrate that
// is set, and what the relay's socket dropped. Statistics of a sender that is gone
// or hangs are not repeated: only their age is reported.
func (c *streamLinks) Collect(now time.Time) ([]metric.Sample, error) {
	dir := c.dir
	if dir == "" {
		if dir = boundTmp; !isDirectory(dir) {
			dir = "/tmp"
		}
	}
	r := newReading(now)
	c.statistics(dir, now, &r)
	c.bitrate(filepath.Join(dir, "belacoder_br"), &r)
	// A missing table of sockets is the network collectors' matter.
	if dropped, listens, err := relaySocket(c.sockets, c.port); err == nil && listens {
		r.add("stream.relay_dropped_total", "", float64(dropped))
	}
	return r.done()
}

// readEncoder reads one of the encoder's files; nothing where there is none.
func readEncoder(path string, r *reading) []byte {
	data, err := hostfs.ReadFileUpTo(path, maxEncoderFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.fault(err)
	}
	return data
}

// statistics reads the sender's file of statistics.
func (c *streamLinks) statistics(dir string, now time.Time, r *reading) {
	path := filepath.Join(dir, "srtla-send-stats-"+strconv.Itoa(c.port)+".json")
	data := readEncoder(path, r)
	if data == nil {
		return
	}
	stats, err := parseLinkStats(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", path, err))
		return
	}
	age := time.Duration(now.UnixMilli()-stats.updatedMs) * time.Millisecond
	if age < -staleAfter {
		return // the clock was set back meanwhile; in a second there is a new one
	}
	r.add("stream.stats_age_seconds", "", max(age, 0).Seconds())
	if age > staleAfter {
		return
	}
	if len(stats.links) > maxLinks {
		c.dropped += uint64(len(stats.links) - maxLinks)
		stats.links = stats.links[:maxLinks]
	}
	r.add("stream.links_dropped_total", "", float64(c.dropped))
	if len(stats.links) == 0 {
		return
	}
	names := parseLinkList(readEncoder(filepath.Join(dir, "srtla_ips"), r))
	var networks []network
	if table, err := hostfs.ReadFile(c.routes); err == nil {
		networks = parseRoutes(table)
	}
	for _, l := range stats.links {
		tags := linkTags(l.id, names, networks)
		for _, v := range l.values {
			r.add(v.name, tags, v.value)
		}
	}
}

// linkTags names a link: connection N is line N of the list of addresses. The
// interface is left out where it would be a guess.
func linkTags(id int, names []string, networks []network) string {
	link := strconv.Itoa(id)
	if id < len(names) && names[id] != "" {
		link = names[id]
	}
	if iface := interfaceOf(link, networks); iface != "" {
		return metric.Tags("link", link, "interface", iface)
	}
	return metric.Tags("link", link)
}

// bitrate reads the bounds that belacoder keeps the bitrate in. The file is written
// in place: an empty one is being written.
func (c *streamLinks) bitrate(path string, r *reading) {
	data := readEncoder(path, r)
	if len(data) == 0 {
		return
	}
	low, high, err := parseBitrate(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", path, err))
		return
	}
	r.add("stream.bitrate_min_bps", "", low)
	r.add("stream.bitrate_max_bps", "", high)
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
