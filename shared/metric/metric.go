// Package metric says what a sample is, what its tags look like as text, and
// (in catalog.go) what every metric of this product is called.
//
// The one rule here: a sample is made once, in the shape in which it is stored
// and sent. Its tags are canonical JSON from the beginning and are never decoded.
package metric

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Sample is one value of one series at one time.
type Sample struct {
	Name   string  // stored, dotted name; see Catalog
	Tags   string  // canonical JSON object of strings, or "" for none; see Tags
	TimeMs int64   // Unix time in milliseconds
	Value  float64 // in the unit the catalogue names; finite
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// TagName says whether key may be a tag: a label name (Prometheus data model)
// that the wire line does not use for itself.
func TagName(key string) bool {
	return labelName.MatchString(key) && key != "__name__" && key != "device_id"
}

// Tags returns the canonical text of the given key, value pairs: a JSON object
// with sorted keys, no spaces and no needless escapes, or "" for no pairs.
// Values that are not valid UTF-8 get U+FFFD in place of the bad bytes, because
// VictoriaMetrics drops a line that is not UTF-8. Keys are part of the program,
// never input: one that is not a label name, is reserved, or repeats, panics.
func Tags(pairs ...string) string {
	if len(pairs) == 0 {
		return ""
	}
	if len(pairs)%2 != 0 {
		panic("BUG: metric.Tags needs pairs")
	}
	type pair struct{ key, value string }
	sorted := make([]pair, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key := pairs[i]
		if !TagName(key) {
			panic("BUG: metric.Tags: not a tag name: " + strconv.Quote(key))
		}
		sorted = append(sorted, pair{key, pairs[i+1]})
	}
	slices.SortFunc(sorted, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	var buf []byte
	for i, p := range sorted {
		if i > 0 && p.key == sorted[i-1].key {
			panic("BUG: metric.Tags: key twice: " + p.key)
		}
		if i == 0 {
			buf = append(buf, '{')
		} else {
			buf = append(buf, ',')
		}
		buf = AppendJSONString(buf, p.key)
		buf = append(buf, ':')
		buf = AppendJSONString(buf, p.value)
	}
	return string(append(buf, '}'))
}

// AppendJSONString appends s to buf as a JSON string, with the escapes that
// JSON demands and no others. Bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(buf []byte, s string) []byte {
	if plainJSON(s) {
		buf = append(buf, '"')
		buf = append(buf, s...)
		return append(buf, '"')
	}
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each bad byte becomes U+FFFD
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("BUG: a string that is not JSON: " + err.Error())
	}
	return append(buf, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func plainJSON(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Round returns v to 12 significant digits, which is all that VictoriaMetrics
// keeps: rounding before storing lets both sides compare equal.
func Round(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e12 {
		return v
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		return v // only out of range after rounding up the largest floats
	}
	return r
}

// Percent returns part of whole as 0 to 100 with three decimals. A whole of
// zero or less has no percentage: ok is false.
func Percent(part, whole float64) (percent float64, ok bool) {
	if !(whole > 0) || !(part >= 0) {
		return 0, false
	}
	return min(100, math.Round(part/whole*100*1000)/1000), true
}

// Finite says whether v can be stored and sent: not NaN and not infinite.
func Finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
