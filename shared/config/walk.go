package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxItems  = 256 // of a list of texts
	maxFaults = 100 // that are listed; further ones are counted
)

// walker puts a tree of YAML nodes into a Config and collects the faults. A value with a
// fault leaves the default in place.
type walker struct {
	faults   []Fault
	unlisted int             // faults after the first maxFaults
	lines    map[string]int  // line of each key that the file has
	bad      map[string]bool // keys with a fault: no rule compares them further
}

func (w *walker) fault(line int, key, format string, args ...any) {
	w.bad[key] = true
	if len(w.faults) == maxFaults {
		w.unlisted++
		return
	}
	w.faults = append(w.faults, Fault{Line: max(line, 1), Key: key, Text: fmt.Sprintf(format, args...)})
}

// config walks the whole file.
func (w *walker) config(n *yaml.Node, c *Config) {
	w.mapping(n, "", reflect.ValueOf(c).Elem(), "")
}

// mapping puts the keys of n into the fields of the struct into. A null mapping
// leaves the defaults. Fields that are tagged of another collector are refused.
func (w *walker) mapping(n *yaml.Node, key string, into reflect.Value, collector string) {
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" || n.Kind != yaml.ScalarNode {
			w.fault(n.Line, key, "want keys and values, got %s", describe(n))
		}
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			w.fault(k.Line, key, "want a word for a key, got %s", describe(k))
			continue
		}
		at := join(key, k.Value)
		field, ok := fieldOf(into.Type(), k.Value)
		if !ok {
			w.unknown(k, key, into.Type())
			continue
		}
		if line, twice := first[k.Value]; twice {
			w.fault(k.Line, at, "given twice, first on line %d; want it once", line)
			continue
		}
		first[k.Value] = k.Line
		w.lines[at] = k.Line
		if of := strings.Split(field.Tag.Get("of"), ", "); of[0] != "" && collector != "" && !slices.Contains(of, collector) {
			w.fault(k.Line, at, "a key of %s; %s has no such key", orList(of), collector)
			continue
		}
		w.value(v, at, into.FieldByIndex(field.Index), field.Tag.Get("want"), collector)
	}
}

// value puts one node into one field.
func (w *walker) value(n *yaml.Node, key string, into reflect.Value, want, collector string) {
	if n.Kind == yaml.AliasNode {
		w.fault(n.Line, key, "want the value written out, got an alias (*)")
		return
	}
	switch into.Interface().(type) {
	case []Metric:
		w.metrics(n, key, into.Addr().Interface().(*[]Metric))
		return
	case []string:
		w.texts(n, key, into.Addr().Interface().(*[]string), want)
		return
	}
	if into.Kind() == reflect.Struct {
		w.mapping(n, key, into, collector)
		return
	}
	wanted, text, ok := w.scalar(n, into, want)
	if !ok {
		if text == "" {
			text = describe(n)
		}
		w.fault(n.Line, key, "want %s, got %s", wanted, text)
	}
}

// texts puts a list of texts, each of the kind want, into a field. The list
// replaces the default; an empty one means none.
func (w *walker) texts(n *yaml.Node, key string, into *[]string, want string) {
	if n.Kind != yaml.SequenceNode {
		w.fault(n.Line, key, "want a list such as [a, b], or [] for none, got %s", describe(n))
		return
	}
	if len(n.Content) > maxItems {
		w.fault(n.Line, key, "want at most %d items, got %d", maxItems, len(n.Content))
		return
	}
	list := make([]string, len(n.Content))
	for i, item := range n.Content {
		w.value(item, fmt.Sprintf("%s[%d]", key, i), reflect.ValueOf(&list[i]).Elem(), want, "")
	}
	*into = list
}

// metrics puts the list of collectors into c. It replaces the default list; an
// entry starts from the defaults of its name.
func (w *walker) metrics(n *yaml.Node, key string, into *[]Metric) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		w.fault(n.Line, key, "want a list of collectors, or [] for none, got %s", describe(n))
		return
	}
	defaults := DefaultMetrics()
	names := make([]string, len(defaults))
	for i, m := range defaults {
		names[i] = m.Name
	}
	list := make([]Metric, 0, len(names))
	first := map[string]int{}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		if item.Kind != yaml.MappingNode {
			w.fault(item.Line, at, "want a collector such as {name: cpu.usage}, got %s", describe(item))
			continue
		}
		name, m := nameOf(item), Metric{Interval: 30 * time.Second}
		known := slices.Index(names, name)
		if known >= 0 {
			m = defaults[known]
		} else {
			name = ""
		}
		w.lines[at] = item.Line
		w.mapping(item, at, reflect.ValueOf(&m).Elem(), name)
		at += ".name"
		switch line, twice := first[name]; {
		case known < 0 && m.Name == "":
			w.rule(at, "want %s, got nothing", orList(names))
		case known < 0:
			w.rule(at, "want %s, got %s", orList(names), quote(m.Name))
		case twice:
			w.rule(at, "%s is given twice, first on line %d; want it once", name, line)
		default:
			first[name] = w.lines[at]
		}
		if name == "disk.io" && m.Config.AllowedDevices == "" {
			m.Config.AllowedDevices = DefaultAllowedDevices
		}
		list = append(list, m)
	}
	*into = list
}

// nameOf returns the text under the key name, or "".
func nameOf(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k, v := n.Content[i], n.Content[i+1]; k.Value == "name" && v.Kind == yaml.ScalarNode {
			return v.Value
		}
	}
	return ""
}
