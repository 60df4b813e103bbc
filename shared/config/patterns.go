package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
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
