package ship

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// A traffic watches how much others send over the board's links.
type traffic struct {
	limit   float64 // bits a second, 0: not looked at
	path    string  // /proc/net/dev
	exclude []*regexp.Regexp

	at         time.Time
	bytes      uint64 // of all links
	own        int64  // of ours, at the same time
	busy       bool
	unreadable bool // the last look failed, which was said
}

// newTraffic watches the links that network.traffic reads.
func newTraffic(c config.Config) (*traffic, error) {
	t := &traffic{limit: float64(c.Remote.BusyKbps) * 1000, path: hostfs.Roots{Proc: c.Host.Procfs}.ProcPath("net", "dev")}
	patterns := config.DefaultExcludeIfaces()
	for _, m := range c.Metrics {
		if m.Name == "network.traffic" {
			patterns = m.Config.ExcludeIfaces
		}
	}
	for _, text := range append([]string{"lo"}, patterns...) {
		p, err := config.Pattern(text)
		if err != nil {
			return nil, fmt.Errorf("exclude_ifaces: %w", err)
		}
		t.exclude = append(t.exclude, p)
	}
	return t, nil
}

// look says whether others sent more than the limit since the last look, own
// being the bytes that we sent so far. Two looks within a second are one.
func (t *traffic) measure(now time.Time, own int64) (busy bool, err error) {
	if t.limit == 0 {
		return false, nil
	}
	passed := now.Sub(t.at)
	if !t.at.IsZero() && passed < time.Second {
		return t.busy, nil
	}
	data, err := os.ReadFile(t.path)
	if err != nil {
		return false, fmt.Errorf("read the links' traffic: %w", err)
	}
	sum, err := sentBytes(data, func(name []byte) bool {
		for _, p := range t.exclude {
			if p.Match(name) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return false, fmt.Errorf("read %s: %w", t.path, err)
	}
	if !t.at.IsZero() {
		others := 0.0
		if sum > t.bytes { // a link that went away takes its bytes along
			// Ours are counted above TCP and IP, the links' below.
			others = float64(sum-t.bytes) - 1.1*float64(own-t.own)
		}
		t.busy = others*8/passed.Seconds() > t.limit
	}
	t.at, t.bytes, t.own = now, sum, own
	return t.busy, nil
}

// sentBytes sums what the links sent, the ninth number after the name's colon.
// Source: /proc/net/dev, proc_pid_net(5).
func sentBytes(data []byte, counts func(name []byte) bool) (sum uint64, err error) {
	for line := range bytes.Lines(data) {
		colon := bytes.LastIndexByte(line, ':')
		if colon < 0 {
			continue // a heading
		}
		if !counts(bytes.TrimSpace(line[:colon])) {
			continue
		}
		fields := bytes.Fields(line[colon+1:])
		if len(fields) < 9 {
			return 0, fmt.Errorf("%d numbers, want at least 9: %.60q", len(fields), line)
		}
		n, err := strconv.ParseUint(string(fields[8]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("sent bytes are not a number: %.60q", line)
		}
		sum += n
	}
	return sum, nil
}
