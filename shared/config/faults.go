package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
)

// Fault is one thing that is wrong in the file.
type Fault struct {
	Line int    // from 1
	Key  string // dotted, such as metrics[3].config.exclude_ifaces[0]; empty: the file as a whole
	Text string // what is wanted, and what is there
}

// Faults is everything that is wrong in one file, in the order of its lines.
type Faults struct {
	File string
	List []Fault
}

// Error gives one line per fault: file:line: key: text.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, one := range f.List {
		key := one.Key
		if key != "" {
			key += ": "
		}
		lines[i] = fmt.Sprintf("%s:%d: %s%s", f.File, one.Line, key, one.Text)
	}
	return strings.Join(lines, "\n")
}

func (f *Faults) sort() {
	slices.SortStableFunc(f.List, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key), strings.Compare(a.Text, b.Text))
	})
}

// quote quotes text of the file for a message, cut to 60 bytes. A text with an @ may be an
// address with a password before it and is never repeated.
func quote(s string) string {
	if strings.Contains(s, "@") {
		return "a text with an @ (not shown)"
	}
	return metric.Quote(s, 60)
}

// nearest returns the one of names that s was probably meant to be, or "".
func nearest(s string, names []string) string {
	if len(s) > 64 {
		return ""
	}
	best, bestAt := "", 3
	for _, name := range names {
		if d := distance(s, name); d < bestAt && d < len(name) && d < len(s) {
			best, bestAt = name, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step++
			}
			diagonal = row[j+1]
			row[j+1] = min(step, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// orList writes "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
