package collect

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
)

// relaySocket looks for the UDP socket on a local port: how many datagrams it
// dropped, and whether there is one.
func relaySocket(path string, port int) (dropped uint64, listens bool, err error) {
	data, err := hostfs.ReadFile(path)
	if err != nil {
		return 0, false, err
	}
	dropped, listens, err = parseUDP(data, port)
	if err != nil {
		err = fmt.Errorf("read %s: %w", path, err)
	}
	return dropped, listens, err
}

// parseUDP reads /proc/net/udp: a line a socket, its local address and port in
// hexadecimal second, the datagrams it dropped last.
// Source: udp4_format_sock in net/ipv4/udp.c.
func parseUDP(data []byte, port int) (dropped uint64, listens bool, err error) {
	var f faults
	var buf [13][]byte
	mark := fmt.Appendf(nil, ":%04X", port)
	first := true
	for line := range lines(data) {
		if first {
			first = false
			continue // the headings
		}
		fields := split(line, buf[:])
		if len(fields) < 2 {
			f.addf("line %s: %d fields; line skipped", quote(line), len(fields))
			continue
		}
		if !hasSuffix(fields[1], mark) {
			continue
		}
		listens = true
		if len(fields) < len(buf) {
			f.addf("line %s: %d fields, want %d; drops skipped", quote(line), len(fields), len(buf))
			continue
		}
		n, err := strconv.ParseUint(string(fields[12]), 10, 64)
		if err != nil {
			f.addf("line %s: %s is not a count; drops skipped", quote(line), quote(fields[12]))
			continue
		}
		dropped += n
	}
	if first {
		f.addf("empty")
	}
	return dropped, listens, f.err()
}

func hasSuffix(b, mark []byte) bool {
	return len(b) >= len(mark) && strings.EqualFold(string(b[len(b)-len(mark):]), string(mark))
}

// streaming says whether the encoder streams. The journal alone does not show the end,
// because a stop by the operator prints nothing.
func (c *streamEvents) streaming(now Moment) (bool, error) {
	if !c.state.Connected || !c.sameBoot(now) {
		return false, nil
	}
	_, listens, err := relaySocket(c.sockets, c.port)
	return listens, err
}

// sameBoot says whether the last message about SRT is of this boot: by the boot of the
// journal's last line, or by the kernel's id if no line was read yet.
func (c *streamEvents) sameBoot(now Moment) bool {
	if boot := c.follower.Boot(); boot != (journal.ID{}) {
		return c.state.BootID == boot.String()
	}
	return c.state.KernelID == now.BootID
}
