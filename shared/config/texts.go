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

// wrong says what is wanted where s is not a text of the kind a want tag
// names, and what s is instead. It returns "", "" for a text that will do.
func wrong(kind, s string) (want, instead string) {
	if strings.Contains(kind, "|") {
		words := strings.Split(kind, "|")
		if slices.Contains(words, s) {
			return "", ""
		}
		return orList(words), show(s)
	}
	ok := false
	switch kind {
	case "name": // of a collector; looked up by the list
		ok = true
	case "label":
		want = "at most 256 bytes without control characters or spaces around them"
		ok = len(s) <= 256 && plainText(s) && strings.TrimSpace(s) == s
	case "path":
		want = "a path"
		ok = s != "" && len(s) <= 4096 && plainText(s)
	case "new path":
		want = "a path outside /dev, /proc and /sys"
		ok = s != "" && len(s) <= 4096 && plainText(s) && !belowKernel(s)
		if s == "" {
			want = "a path"
		}
	case "path or empty":
		want = "a path"
		ok = len(s) <= 4096 && plainText(s)
	case "user name or empty":
		want = "a user name without a colon" // RFC 7617, section 2
		ok = len(s) <= 256 && plainText(s) && !strings.Contains(s, ":")
	case "pin":
		want = "sha256/ and the base64 of a public key's SHA-256"
		ok = pin(s)
	case "root":
		want = "an absolute path such as /proc"
		ok = strings.HasPrefix(s, "/") && len(s) <= 4096 && plainText(s)
	case "root or empty":
		want = "an absolute path such as /run"
		ok = s == "" || strings.HasPrefix(s, "/") && len(s) <= 4096 && plainText(s)
	case "mountpoint":
		want = "an absolute path such as /var"
		ok = strings.HasPrefix(s, "/") && path.Clean(s) == s && len(s) <= 4096 && plainText(s)
	case "loopback or empty":
		want = "an http URL of this machine, such as http://127.0.0.1:8181/stats"
		if ok = s == "" || loopback(s); !ok {
			instead = "another address" // which may hold a password, or the name of a stream
		}
	case "stream name":
		want = "8 digits of a stream's SHA-256, = and a name, such as 1a2b3c4d=studio"
		ok = streamName.MatchString(s) && plainText(s)
	case "unit":
		want = "a systemd unit such as belaUI.service"
		ok = unitName.MatchString(s) && len(s) <= 255
	case "endpoint":
		want = "a path such as /health, other than /, /metrics, /health/live, /health/ready and those under /api"
		ok = endpoint(s)
	case "listen":
		want = "an address such as 127.0.0.1, with a port or without"
		var host string
		if host, _, ok = splitListen(s); ok && host == "" {
			// To net.Listen no host is every address; who wants that has to say so.
			want, ok = "0.0.0.0 or [::] to open it everywhere", false
		}
	case "url", "url or empty":
		want = "an http or https URL with a host, such as http://localhost:8428" + ImportPath
		if kind == "url or empty" {
			want = "an http or https URL with a host, such as http://localhost:8428/health"
		}
		if s != "" || kind == "url" {
			instead = wrongURL(s)
		}
		ok = instead == ""
	case "pattern", "pattern or empty":
		want = "a regular expression for the whole name such as eth.*"
		_, err := Pattern(s)
		if e := (*syntax.Error)(nil); errors.As(err, &e) {
			instead = fmt.Sprintf("%s (%s)", show(s), e.Code)
		}
		ok = err == nil && len(s) <= 1024 && (s != "" || kind != "pattern")
	default:
		panic("BUG: no such kind of text: " + kind)
	}
	if ok {
		return "", ""
	}
	if instead == "" {
		instead = show(s)
	}
	return want, instead
}

// wrongURL says what is wrong with a URL, without any part of it: it may hold
// a password, and the parser's own messages repeat it.
func wrongURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "an empty text"
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "one with white space in it"
	case err != nil || len(s) > 2048 || !plainText(s):
		return "a text that is no URL"
	case u.User != nil:
		return "one with a user name or password in it"
	case u.Scheme != "http" && u.Scheme != "https":
		return "one of another scheme or of none"
	case u.Hostname() == "":
		return "one without a host"
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
	if err != nil || wrongURL(s) != "" || u.Scheme != "http" {
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
