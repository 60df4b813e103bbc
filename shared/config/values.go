package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Pattern compiles a pattern of the file. It matches whole names: lo does not
// hit wlo1.
func Pattern(s string) (*regexp.Regexp, error) {
	// Alone first: "a)(b" would be well-formed between the anchors.
	if _, err := regexp.Compile(s); err != nil {
		return nil, err
	}
	return regexp.Compile("^(?:" + s + ")$")
}

// Names matches whole names by any of its patterns.
type Names []*regexp.Regexp

// NewNames compiles a list of patterns. Its errors name the key at fault and are
// joined.
func NewNames(key string, patterns []string) (Names, error) {
	var names Names
	var wrong []error
	for i, p := range patterns {
		re, err := Pattern(p)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s[%d]: %w", key, i, err))
			continue
		}
		names = append(names, re)
	}
	return names, errors.Join(wrong...)
}

// Match says whether one of the patterns matches.
func (n Names) Match(name []byte) bool {
	return slices.ContainsFunc(n, func(re *regexp.Regexp) bool { return re.Match(name) })
}

// Links says which interfaces a board's links are.
type Links struct{ include, exclude Names }

// Links returns the links that the collector network.traffic reads. Its errors
// name the key at fault below prefix, and are joined.
func (c MetricConfig) Links(prefix string) (Links, error) {
	include, err := NewNames(prefix+".include_ifaces", c.IncludeIfaces)
	exclude, err2 := NewNames(prefix+".exclude_ifaces", c.ExcludeIfaces)
	return Links{include, exclude}, errors.Join(err, err2)
}

// Match says whether the interface is included, or no list is given, and not
// excluded.
func (l Links) Match(name []byte) bool {
	return (len(l.include) == 0 || l.include.Match(name)) && !l.exclude.Match(name)
}

// A textKind is what a want tag says of a text.
type textKind struct {
	want string // in words
	ok   func(s string) bool
}

// textKinds are the kinds whose check is a yes or no. Those that say more are in
// checkText.
var textKinds = map[string]textKind{
	"name":               {"a collector", func(string) bool { return true }}, // looked up by the list
	"label":              {"at most 256 bytes without control characters or spaces around them", label},
	"path":               {"a path", func(s string) bool { return s != "" && pathText(s) }},
	"path or empty":      {"a path", pathText},
	"user name or empty": {"a user name without a colon", userName},
	"pin":                {"sha256/ and the base64 of a public key's SHA-256", pin},
	"root":               {"an absolute path such as /proc", absolute},
	"root or empty":      {"an absolute path such as /run", func(s string) bool { return s == "" || absolute(s) }},
	"stream name":        {"8 digits of a stream's SHA-256, = and a name, such as 1a2b3c4d=studio", func(s string) bool { return streamName.MatchString(s) && plainText(s) }},
	"mountpoint":         {"an absolute path such as /var", mountpoint},
	"unit":               {"a systemd unit such as belaUI.service", func(s string) bool { return unitName.MatchString(s) && len(s) <= 255 }},
	"endpoint":           {"a path such as /health, other than /, /metrics, /health/live, /health/ready and those under /api", endpoint},
}

func label(s string) bool {
	return len(s) <= 256 && plainText(s) && strings.TrimSpace(s) == s
}

func pathText(s string) bool { return len(s) <= 4096 && plainText(s) }

// userName follows RFC 7617, section 2.
func userName(s string) bool {
	return len(s) <= 256 && plainText(s) && !strings.Contains(s, ":")
}

func absolute(s string) bool { return strings.HasPrefix(s, "/") && pathText(s) }

func mountpoint(s string) bool { return absolute(s) && path.Clean(s) == s }

// checkText says what is wanted where s is not a text of the kind a want tag
// names, and what s is instead. It returns "", "" for a text that will do.
func checkText(kind, s string) (want, instead string) {
	if k, ok := textKinds[kind]; ok {
		if k.ok(s) {
			return "", ""
		}
		return k.want, quote(s)
	}
	switch kind {
	case "new path":
		return checkNewPath(s)
	case "loopback or empty":
		if s == "" || loopback(s) {
			return "", ""
		}
		// It may hold a password, or the name of a stream.
		return "an http URL of this machine, such as http://127.0.0.1:8181/stats", "another address"
	case "listen":
		return checkListen(s)
	case "url", "url or empty":
		return checkURL(kind, s)
	case "pattern", "pattern or empty":
		return checkPattern(kind, s)
	}
	words := strings.Split(kind, "|")
	if len(words) == 1 {
		panic("BUG: no such kind of text: " + kind)
	}
	if slices.Contains(words, s) {
		return "", ""
	}
	return orList(words), quote(s)
}

func checkNewPath(s string) (want, instead string) {
	switch {
	case s == "":
		return "a path", quote(s)
	case !pathText(s) || belowKernel(s):
		return "a path outside /dev, /proc and /sys", quote(s)
	}
	return "", ""
}

func checkListen(s string) (want, instead string) {
	host, _, ok := splitListen(s)
	switch {
	case !ok:
		return "an address such as 127.0.0.1, with a port or without", quote(s)
	case host == "":
		// To net.Listen no host is every address; who wants that has to say so.
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

func checkPattern(kind, s string) (want, instead string) {
	_, err := Pattern(s)
	if err == nil && len(s) <= 1024 && (s != "" || kind == "pattern or empty") {
		return "", ""
	}
	instead = quote(s)
	if e := (*syntax.Error)(nil); errors.As(err, &e) {
		instead = fmt.Sprintf("%s (%s)", instead, e.Code)
	}
	return "a regular expression for the whole name such as eth.*", instead
}

// problemOfURL says what is wrong with a URL, without any part of it: it may hold
// a password, and the parser's own messages repeat it.
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

// belowKernel reports whether a path leads to what the kernel makes, where files
// of ours would be memory, devices or nothing.
func belowKernel(s string) bool {
	s = path.Clean(s) + "/"
	return strings.HasPrefix(s, "/dev/") || strings.HasPrefix(s, "/proc/") || strings.HasPrefix(s, "/sys/")
}

// pin reports whether s is a pin as RFC 7469 and curl write it.
func pin(s string) bool {
	sum, prefixed := strings.CutPrefix(s, "sha256/")
	raw, err := base64.StdEncoding.Strict().DecodeString(sum)
	return prefixed && err == nil && len(raw) == 32
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

// streamName is a hash and what to call it.
var streamName = regexp.MustCompile(`^[0-9a-f]{8}=[^=]{1,64}$`)

// loopback reports whether s is an http URL that never leaves this machine.
func loopback(s string) bool {
	u, err := url.Parse(s)
	if err != nil || problemOfURL(s) != "" || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

// unitName is what systemd.unit(5) allows, for the kinds that have a cgroup.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|mount|swap)$`)

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
	// What looks like an address and is none is no name either.
	return host, port, len(host) <= 253 && hostName.MatchString(host) && strings.Trim(host, "0123456789.") != ""
}

func portNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// short writes a duration without the zero units that String adds: 1h, 30s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// The bounds in want tags are written here and tested: a bad one is a bug.
func mustDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic("BUG: want tag: " + err.Error())
	}
	return d
}

func mustInt(s string) int64 {
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("BUG: want tag: " + err.Error())
	}
	return i
}
