package hostfs

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
)

// OwnLinks returns those of the named interfaces that count a byte once: the
// ones with a device of their own (/sys/class/net/X/device), and not a bond, a
// VLAN, a bridge, a tunnel or a switch's port, whose bytes go over another of
// them and are counted there. Where sysfs does not know an interface, its name
// decides.
//
// Where none has a device, as in a container, it returns all that do not look
// stacked, and where all do, those that lie on none of the others.
// Source: Documentation/ABI/testing/sysfs-class-net.
func (r Roots) OwnLinks(names []string) []string {
	var own, plain, lowest []string
	for _, name := range names {
		l := r.link(name)
		onOthers := slices.ContainsFunc(l.lower, func(lower string) bool { return slices.Contains(names, lower) })
		if !onOthers {
			lowest = append(lowest, name)
			if l.device || !l.known && !l.stacked {
				own = append(own, name)
			}
			if !l.stacked {
				plain = append(plain, name)
			}
		}
	}
	switch {
	case len(own) > 0:
		return own
	case len(plain) > 0:
		return plain
	}
	return lowest
}

// link is what sysfs says about an interface.
type link struct {
	known   bool
	device  bool
	stacked bool     // by its type or its name
	lower   []string // the interfaces below it
}

// stackedNames are what interfaces are called that lie on others, or lead
// nowhere.
var stackedNames = regexp.MustCompile(`^(?:lo|bond.*|team.*|br\d*|br-.*|bridge.*|virbr.*|docker.*|veth.*|vlan.*|.*\.\d+|.*:.*|` +
	`wg.*|tun.*|tap.*|utun.*|tailscale.*|zt.*|gre.*|gretap.*|erspan.*|sit.*|ip6.*|ip_vti.*|vti.*|xfrm.*|ipsec.*|l2tp.*|` +
	`vxlan.*|geneve.*|macv(?:lan|tap).*|ipv(?:lan|tap).*|ifb.*|dummy.*|nlmon.*|qmimux.*|rmnet_data.*|bat\d+)$`)

// stackedTypes are the values of DEVTYPE in uevent that mean the same.
var stackedTypes = []string{"bond", "bridge", "vlan", "vxlan", "wireguard", "macvlan", "macvtap", "ipvlan", "geneve", "hsr"}

func (r Roots) link(name string) link {
	l := link{stacked: stackedNames.MatchString(name)}
	if name == "." || name == ".." || strings.Contains(name, "/") {
		return l
	}
	entries, err := os.ReadDir(r.SysPath("class", "net", name))
	if err != nil {
		return l
	}
	l.known = true
	for _, e := range entries {
		switch lower, ok := strings.CutPrefix(e.Name(), "lower_"); {
		case ok:
			l.lower = append(l.lower, lower)
		case e.Name() == "device":
			l.device = true
		case e.Name() == "bridge", e.Name() == "bonding", e.Name() == "tun_flags":
			l.stacked = true
		}
	}
	// Missing, when a link was pulled meanwhile; then the next look tells.
	uevent, _ := ReadFile(r.SysPath("class", "net", name, "uevent"))
	for line := range bytes.Lines(uevent) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "DEVTYPE="); ok && slices.Contains(stackedTypes, kind) {
			l.stacked = true
		}
	}
	return l
}
