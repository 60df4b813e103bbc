package promtext

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseSample reads name{label="value",…} value.
func parseSample(line string) (Sample, error) {
	var s Sample
	end := strings.IndexAny(line, "{ \t")
	if end < 0 {
		return s, errors.New("no value after the name")
	}
	s.Name = line[:end]
	if !metricName(s.Name) {
		return s, fmt.Errorf("%s is not the name of a metric", quote(s.Name))
	}
	rest := strings.TrimLeft(line[end:], " \t")
	if strings.HasPrefix(rest, "{") {
		var err error
		if s.Labels, rest, err = parseLabels(rest[1:]); err != nil {
			return s, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	value, rest := token(rest)
	if value == "" {
		return s, fmt.Errorf("%s has no value", s.Name)
	}
	v, err := parseFloat(value)
	if err != nil {
		return s, fmt.Errorf("%s: %s is not a number", s.Name, quote(value))
	}
	if rest != "" && strings.TrimLeft(rest, " \t") == "" {
		return s, fmt.Errorf("a blank after the value of %s", s.Name)
	}
	if rest != "" {
		return s, fmt.Errorf("%s has a timestamp; remove it, because the time of reading is used", s.Name)
	}
	s.Value = v
	return s, nil
}

// parseLabels reads what follows the opening brace, and returns what follows
// the closing one. A comma may stand before the closing brace.
func parseLabels(text string) ([]Label, string, error) {
	var labels []Label
	for {
		text = strings.TrimLeft(text, " \t")
		if rest, closed := strings.CutPrefix(text, "}"); closed {
			return sorted(labels, rest)
		}
		l, rest, err := parseLabel(text)
		if err != nil {
			return nil, "", err
		}
		labels = append(labels, l)
		if len(labels) > MaxLabels {
			return nil, "", fmt.Errorf("more than %d labels", MaxLabels)
		}
		text = strings.TrimLeft(rest, " \t")
		switch {
		case strings.HasPrefix(text, ","):
			text = text[1:]
		case !strings.HasPrefix(text, "}"):
			return nil, "", fmt.Errorf("neither a comma nor } after the label %s", l.Name)
		}
	}
}

// sorted puts labels in order and refuses one that appears twice.
func sorted(labels []Label, rest string) ([]Label, string, error) {
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(labels); i++ {
		if labels[i].Name == labels[i-1].Name {
			return nil, "", fmt.Errorf("the label %s appears twice", labels[i].Name)
		}
	}
	return labels, rest, nil
}

func parseLabel(text string) (Label, string, error) {
	end := strings.IndexAny(text, "= \t{}\",")
	if end < 0 {
		return Label{}, "", errors.New("the labels do not end")
	}
	l := Label{Name: text[:end]}
	switch {
	case !labelName(l.Name):
		return l, "", fmt.Errorf("%s is not the name of a label", quote(l.Name))
	case l.Name == "__name__" || l.Name == "device_id":
		return l, "", fmt.Errorf("the label %s is reserved and must not be in a file", l.Name)
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(text[end:], " \t"), "=")
	if ok {
		rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), `"`)
	}
	if !ok {
		return l, "", fmt.Errorf(`no ="…" after the label %s`, l.Name)
	}
	end = closing(rest)
	if end < 0 {
		return l, "", fmt.Errorf("the value of the label %s does not end", l.Name)
	}
	value, err := unescape(rest[:end], true)
	switch {
	case err != nil:
		return l, "", fmt.Errorf("label %s: %w", l.Name, err)
	case !utf8.ValidString(value):
		return l, "", fmt.Errorf("the value of the label %s is not UTF-8", l.Name)
	case len(value) > MaxValueBytes:
		return l, "", fmt.Errorf("the value of the label %s is over %d bytes", l.Name, MaxValueBytes)
	}
	l.Value = value
	return l, rest[end+1:], nil
}

// closing finds the quote that ends a value, -1 for none.
func closing(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape undoes \\ and \n, and \" in a value. There are no others.
func unescape(text string, quotes bool) (string, error) {
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch {
		case i < len(text) && text[i] == '\\':
			b.WriteByte('\\')
		case i < len(text) && text[i] == 'n':
			b.WriteByte('\n')
		case i < len(text) && text[i] == '"' && quotes:
			b.WriteByte('"')
		default:
			return "", fmt.Errorf(`only \\, \n and \" are escapes, not %s`, quote(text[i-1:min(i+1, len(text))]))
		}
	}
	return b.String(), nil
}

// parseFloat reads a number as Go writes one, without hexadecimal digits and
// underscores.
func parseFloat(s string) (float64, error) {
	if strings.ContainsAny(s, "pP_") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

func metricName(s string) bool { return legal(s, true) }

func labelName(s string) bool { return legal(s, false) }

func legal(s string, colons bool) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == ':' && colons:
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != "" && len(s) <= MaxNameBytes
}
