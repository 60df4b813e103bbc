package health

import (
	"net"
	"net/netip"
	"os"
	"strings"
)

// hosts are the host names that requests may have. A page of another site whose name
// was made to resolve to this machine (DNS rebinding) sends that site's name and is
// refused. An IP address is always allowed, because it needs no resolver.
type hosts map[string]bool

func hostsOf(listen string) hosts {
	h := hosts{"localhost": true}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		h[strings.ToLower(host)] = true
	}
	// Without a hostname there is one allowed name less.
	if name, err := os.Hostname(); err == nil && name != "" {
		h[strings.ToLower(name)] = true
		h[strings.ToLower(name)+".local"] = true // multicast DNS: no site can have such a name
	}
	return h
}

// allow judges a Host header. HTTP/1.0 has none, and no browser speaks that.
func (h hosts) allow(host string) bool {
	if host == "" {
		return true
	}
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return h[strings.ToLower(strings.TrimSuffix(name, "."))]
}

// Reach is from where an address can be asked.
type Reach int

// The reaches: this machine, the networks that lead to one address of it, and
// every network it is in.
const (
	ReachSelf Reach = iota
	ReachSome
	ReachAll
)

// ReachOf says from where a listener's address can be reached.
func ReachOf(a net.Addr) Reach {
	tcp, ok := a.(*net.TCPAddr)
	switch {
	case !ok || tcp.IP.IsUnspecified() || tcp.IP == nil:
		return ReachAll
	case tcp.IP.IsLoopback():
		return ReachSelf
	}
	return ReachSome
}
