package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// A textKind is a kind of text that a want tag names.
type textKind struct {
	want string // in words
	ok   func(s string) bool
}

// textKinds are the kinds whose check is a yes or no. All other kinds are in checkText.
var textKinds = map[string]textKind{
	"name":               {"a collector", func(string) bool { return true }}, // looked up by the list
	"label":              {"at most 256 bytes without control characters or spaces around them", label},
	"path":               {"a path", func(s string) bool { return s != "" && pathText(s) }},
	"path or empty":      {"a path", pathText},
	"user name or empty": {"a user name without a colon", userName},
	"pin":                {"sha256/ and the base64 of a public key's SHA-256", pin},
	"root":               {"an absolute path such as /proc", absolute},
	"root or empty":      {"an absolute path such as /run", func(s string) bool { return s == "" || absolute(s) }},
	"stream name": {
		"8 digits of a stream's SHA-256, = and a name, such as 1a2b3c4d=studio",
		func(s string) bool { return streamName.MatchString(s) && plainText(s) },
	},
	"mountpoint": {"an absolute path such as /var", mountpoint},
	"unit":       {"a systemd unit such as belaUI.service", func(s string) bool { return unitName.MatchString(s) && len(s) <= 255 }},
	"endpoint":   {"a path such as /health, other than /, /metrics, /health/live, /health/ready and those under /api", endpoint},
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

// checkText checks a text against the kind that a want tag names. It returns what is
// wanted and what s is instead, or "", "" for a valid text.
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
	case !pathText(s) || hostfs.BelowKernel(s):
		return "a path outside /dev, /proc and /sys", quote(s)
	case s != "stdout" && s != "stderr":
		// Files are made there, and a link may lead there as well.
		if real := hostfs.Resolve(s); hostfs.BelowKernel(real) {
			return "a path outside /dev, /proc and /sys", fmt.Sprintf("%s, which leads to %s", quote(s), quote(real))
		}
	}
	return "", ""
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

// pin reports whether s is a pin as RFC 7469 and curl write it.
func pin(s string) bool {
	sum, prefixed := strings.CutPrefix(s, "sha256/")
	raw, err := base64.StdEncoding.Strict().DecodeString(sum)
	return prefixed && err == nil && len(raw) == 32
}

// streamName is a hash and what to call it.
var streamName = regexp.MustCompile(`^[0-9a-f]{8}=[^=]{1,64}$`)

// unitName is what systemd.unit(5) allows, for the kinds that have a cgroup.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|mount|swap)$`)

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
