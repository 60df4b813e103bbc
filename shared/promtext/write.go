package promtext

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
)

// Write writes samples in the text format, under the names and with the words of
// the catalogue; the samples of a metric stand together, in the order in which the
// metrics come first.
func Write(w io.Writer, samples []metric.Sample) error {
	var order []string
	families := map[string][]metric.Sample{}
	for _, s := range samples {
		f := familyOf(s.Name)
		if len(families[f]) == 0 {
			order = append(order, f)
		}
		families[f] = append(families[f], s)
	}
	for _, f := range order {
		kind, help := "untyped", ""
		if e, known := metric.Lookup(families[f][0].Name); known {
			kind, help = string(e.Kind), e.Help
		}
		if help != "" {
			if _, err := fmt.Fprintf(w, "# HELP %s %s\n", f, helpEscapes.Replace(metric.Clean(help))); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "# TYPE %s %s\n", f, kind); err != nil {
			return err
		}
		for _, s := range families[f] {
			labels, err := labelText(s.Tags)
			if err != nil {
				return fmt.Errorf("%s%s: %w", s.Name, metric.OneLine(s.Tags, 200), err)
			}
			if _, err := fmt.Fprintf(w, "%s%s %s\n", metric.WireName(s.Name), labels, strconv.FormatFloat(s.Value, 'g', -1, 64)); err != nil {
				return err
			}
		}
	}
	return nil
}

// familyOf is the name under which HELP and TYPE stand: a histogram's without the
// suffix of its parts.
func familyOf(name string) string {
	if e, known := metric.Lookup(name); known && e.Kind == metric.Histogram {
		return metric.WireName(e.Name)
	}
	return metric.WireName(name)
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
)

// labelText makes labels of canonical tags.
func labelText(tags string) (string, error) {
	if tags == "" {
		return "", nil
	}
	var labels map[string]string
	if err := json.Unmarshal([]byte(tags), &labels); err != nil {
		return "", fmt.Errorf("tags: %w", err)
	}
	if len(labels) == 0 {
		return "", nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+`="`+labelEscapes.Replace(metric.Clean(labels[name]))+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}", nil
}
