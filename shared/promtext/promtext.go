// Package promtext reads the text format of Prometheus: the answers of exporters,
// and the files that scripts write for the textfile collector.
//
// The one rule here: a text is accepted whole or not at all. The samples that Parse
// returns can be sent unchanged: names and labels are legal on the wire, no two samples
// are of one series, and no label is one that the wire uses for itself. It is
// narrower than the format where the wire is: no time stamps, no quoted names,
// no infinities. A value of NaN says that there is no value: no sample.
//
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/; its
// parser in Go is the oracle of the tests.
package promtext

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
)

// Limits of a sample, which are those of the wire.
const (
	MaxNameBytes  = 256
	MaxValueBytes = 1024 // of a label
	MaxLabels     = 28   // __name__ and device_id come to them
)

// A Sample is one line with a value. Labels without a value are left out: to a
// server they are the same as none.
type Sample struct {
	Name   string
	Labels []Label // in order of name
	Value  float64
	Line   int
}

// A Label is a name and its value, which is valid UTF-8.
type Label struct{ Name, Value string }

// Error is what is wrong with a text, and on which line.
type Error struct {
	Line   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Parse reads a text of at most max samples.
func Parse(text []byte, max int) ([]Sample, error) {
	p := parser{families: map[string]*family{}, seen: map[string]int{}, max: max}
	for len(text) > 0 {
		p.line++
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return nil, &Error{p.line, "ends without a line feed; was the file still being written?"}
		}
		if err := p.read(string(line)); err != nil {
			return nil, &Error{p.line, err.Error()}
		}
		text = rest
	}
	return p.samples, nil
}

// parser is the state between lines.
type parser struct {
	families map[string]*family
	seen     map[string]int // line of each series
	samples  []Sample
	line     int
	max      int
}

// family is what is known of a metric.
type family struct {
	kind         string
	helped, used bool
}

func (p *parser) read(line string) error {
	line = strings.TrimLeft(line, " \t")
	switch {
	case line == "":
		return nil
	case line[0] == '#':
		return p.comment(line[1:])
	}
	s, err := parseSample(line)
	if err != nil {
		return err
	}
	if err := p.known(&s); err != nil {
		return err
	}
	if math.IsNaN(s.Value) {
		return nil
	}
	if math.IsInf(s.Value, 0) {
		return fmt.Errorf("the value of %s is not finite", s.Name)
	}
	if len(p.samples) == p.max {
		return fmt.Errorf("more than %d samples", p.max)
	}
	s.Line = p.line
	p.samples = append(p.samples, s)
	return nil
}

// comment reads HELP and TYPE, which may come once for a metric and before its
// samples; any other comment is one.
func (p *parser) comment(text string) error {
	keyword, rest := token(text)
	if keyword != "HELP" && keyword != "TYPE" {
		return nil
	}
	name, rest := token(rest)
	if name == "" {
		return nil
	}
	if !metricName(name) {
		return fmt.Errorf("%s is not the name of a metric", quote(name))
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" {
		return nil
	}
	f := p.family(name)
	if keyword == "HELP" {
		if f.helped {
			return fmt.Errorf("a second HELP of %s", quote(name))
		}
		f.helped = true
		_, err := unescape(rest, false)
		return err
	}
	kind := strings.ToLower(rest)
	switch {
	case !slices.Contains([]string{"counter", "gauge", "histogram", "summary", "untyped"}, kind):
		return fmt.Errorf("%s is not a type of metric", quote(rest))
	case f.kind != "" || f.used:
		return fmt.Errorf("a second TYPE of %s, or one after its samples", quote(name))
	}
	f.kind = kind
	return nil
}

// family finds the metric that a name belongs to: a histogram and a summary
// have several names.
func (p *parser) family(name string) *family {
	for _, of := range []struct {
		suffix string
		kinds  []string
	}{{"_count", []string{"summary", "histogram"}}, {"_sum", []string{"summary", "histogram"}}, {"_bucket", []string{"histogram"}}} {
		if base, ok := strings.CutSuffix(name, of.suffix); ok && p.families[name] == nil {
			if f := p.families[base]; f != nil && slices.Contains(of.kinds, f.kind) {
				return f
			}
		}
	}
	f := p.families[name]
	if f == nil {
		f = &family{}
		p.families[name] = f
	}
	return f
}

// known holds a sample to what came before it, and leaves out its labels without
// a value.
func (p *parser) known(s *Sample) error {
	f := p.family(s.Name)
	f.used = true
	for _, l := range s.Labels {
		if l.Name == "le" && f.kind == "histogram" || l.Name == "quantile" && f.kind == "summary" {
			if _, err := parseFloat(l.Value); err != nil {
				return fmt.Errorf("the label %s of %s is no number", l.Name, s.Name)
			}
		}
	}
	s.Labels = slices.DeleteFunc(s.Labels, func(l Label) bool { return l.Value == "" })
	var series strings.Builder
	series.WriteString(s.Name)
	for _, l := range s.Labels {
		series.WriteString("\x00" + l.Name + "\x00" + l.Value)
	}
	key := series.String()
	if line := p.seen[key]; line > 0 {
		return fmt.Errorf("%s appears twice with the same labels, first on line %d", s.Name, line)
	}
	p.seen[key] = p.line
	return nil
}

// token cuts the first word of a text.
func token(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t")
	if end := strings.IndexAny(text, " \t"); end >= 0 {
		return text[:end], text[end:]
	}
	return text, ""
}

// quote returns the beginning of a text, fit for an error.
func quote(s string) string {
	const most = 60
	return metric.Quote(s, most)
}
