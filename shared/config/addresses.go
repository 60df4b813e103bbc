package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

func checkListen(s string) (want, instead string) {
	host, _, ok := splitListen(s)
	switch {
	case !ok:
		return "an address such as 127.0.0.1, with a port or without", quote(s)
	case host == "":
		// For net.Listen an empty host means every address, which must be explicit here.
		return "0.0.0.0 or [::] to open it everywhere", quote(s)
	}
	return "", ""
}

func checkURL(kind, s string) (want, instead string) {
	if s == "" && kind == "url or empty" {
		return "", ""
	}
	if instead = problemOfURL(s); instead == "" {
		return "", ""
	}
	if kind == "url or empty" {
		return "an http or https URL with a host, such as http://localhost:8428/health", instead
	}
	return "an http or https URL with a host, such as http://localhost:8428" + ImportPath, instead
}

// problemOfURL says what is wrong with a URL, without repeating any part of it, because it
// may have a password in it.
func problemOfURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "an empty text"
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "one with white space in it"
	case err != nil || len(s) > 2048 || !plainText(s):
		return "text that is not a URL"
	case u.User != nil:
		return "one with a user name or password in it"
	case u.Scheme != "http" && u.Scheme != "https":
		return "one of another scheme or of none"
	case u.Hostname() == "":
		return "one without a host"
	case strings.HasSuffix(u.Host, ":"):
		return "one without a port behind its colon"
	case strings.Contains(s, "#"):
		return "one with a fragment (#)"
	}
	if port := u.Port(); port != "" && !portNumber(port) {
		return "one with a port over 65535"
	}
	return ""
}

// loopback reports whether s is an http URL that never leaves this machine.
func loopback(s string) bool {
	u, err := url.Parse(s)
	if err != nil || problemOfURL(s) != "" || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// splitListen takes "host", "host:port", "[v6]:port" or a bare v6 address apart.
// The host may be empty before a port. Port is "" if
// s names none.
func splitListen(s string) (host, port string, ok bool) {
	host = s
	if inner, bracketed := strings.CutPrefix(s, "["); bracketed && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
		a, err := netip.ParseAddr(host)
		return host, "", err == nil && a.Is6()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), "", true
	}
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil || !portNumber(port) {
			return "", "", false
		}
		if host == "" {
			return "", port, true
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, true
	}
	// A host of digits and dots that is no address is no name either.
	return host, port, len(host) <= 253 && hostName.MatchString(host) && strings.Trim(host, "0123456789.") != ""
}

func portNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// endpoint reports whether s can be the path of the status: clean, of plain
// characters, and none of the paths that the status server has anyway.
func endpoint(s string) bool {
	switch s {
	case "", "/", "/metrics", "/health/live", "/health/ready", "/api":
		return false
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%{}"\`, r) }
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "/api/") && path.Clean(s) == s && len(s) <= 256 && !strings.ContainsFunc(s, odd)
}
