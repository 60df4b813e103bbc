package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// maxInterfaceName bounds an interface's name. The kernel's limit is 15 bytes
// (IFNAMSIZ).
const maxInterfaceName = 64

// An Interface is one line of /proc/net/dev.
type Interface struct {
	Name                         string // any bytes
	RxBytes, RxPackets, RxErrors uint64
	TxBytes, TxPackets, TxErrors uint64
}

// NetDev yields the interfaces of /proc/net/dev that wanted says yes to, or why
// a line cannot be read: a name, a colon, eight counts of receiving and eight of
// sending. The name ends at the last colon, because an alias (eth0:1) has one
// itself, and no space need follow. A line that is too short, garbled in a count
// that is used or of an interface that came before is an error for that line only;
// so is an empty file, for the two lines of headings, which have bars and no colon,
// are always there.
// Source: proc_pid_net(5); dev_seq_printf_stats in net/core/net-procfs.c.
func NetDev(data []byte, wanted func(name []byte) bool) iter.Seq2[Interface, error] {
	return func(yield func(Interface, error) bool) {
		seen := map[string]bool{}
		empty := true
		for line := range bytes.Lines(data) {
			line = bytes.Trim(line, " \t\r\n")
			if len(line) == 0 {
				continue
			}
			empty = false
			i, err := parseNetDevLine(line, wanted)
			switch {
			case errors.Is(err, errNotWanted):
				continue
			case err == nil && seen[i.Name]:
				err = fmt.Errorf("%.60q appears twice; the first one is used", i.Name)
			case err == nil:
				seen[i.Name] = true
			}
			if err != nil {
				i, err = Interface{}, fmt.Errorf("line %.60q: %w; line skipped", line, err)
			}
			if !yield(i, err) {
				return
			}
		}
		if empty {
			yield(Interface{}, errors.New("empty; no interfaces this round"))
		}
	}
}

var errNotWanted = errors.New("not wanted")

func parseNetDevLine(line []byte, wanted func(name []byte) bool) (Interface, error) {
	colon := bytes.LastIndexByte(line, ':')
	if colon < 0 {
		if bytes.IndexByte(line, '|') >= 0 {
			return Interface{}, errNotWanted // a heading
		}
		return Interface{}, errors.New("no colon after a name")
	}
	name := bytes.TrimRight(line[:colon], " \t")
	switch {
	case !wanted(name):
		return Interface{}, errNotWanted
	case len(name) == 0:
		return Interface{}, errors.New("no name")
	case len(name) > maxInterfaceName:
		return Interface{}, fmt.Errorf("a name of %d bytes", len(name))
	}
	var v [16]uint64
	rest := line[colon+1:]
	for n := range v {
		var field []byte
		rest = bytes.TrimLeft(rest, " \t")
		if end := bytes.IndexAny(rest, " \t"); end >= 0 {
			field, rest = rest[:end], rest[end:]
		} else {
			field, rest = rest, nil
		}
		if len(field) == 0 {
			return Interface{}, fmt.Errorf("%d counts, want %d", n, len(v))
		}
		if n > 2 && n < 8 || n > 10 {
			continue // not used
		}
		var err error
		if v[n], err = strconv.ParseUint(string(field[:min(len(field), 21)]), 10, 64); err != nil {
			return Interface{}, fmt.Errorf("field %d: %.60q is not a whole number of 64 bits", n+1, field)
		}
	}
	return Interface{
		Name:    string(name),
		RxBytes: v[0], RxPackets: v[1], RxErrors: v[2],
		TxBytes: v[8], TxPackets: v[9], TxErrors: v[10],
	}, nil
}
