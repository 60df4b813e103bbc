package config

import (
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fieldOf returns the field of the struct t that a key of the file names.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// namesOf returns the keys of the struct t.
func namesOf(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// unknown reports a key that the struct t does not have, with the key that was
// probably meant: one that is spelled alike, or of that name elsewhere.
func (w *walker) unknown(k *yaml.Node, parent string, t reflect.Type) {
	if len(w.faults) == maxFaults {
		w.unlisted++
		return
	}
	shown := k.Value
	if !plainKey(shown) {
		shown = quote(shown)
	}
	at, names := join(parent, shown), namesOf(t)
	if name := nearest(k.Value, names); name != "" {
		w.fault(k.Line, at, "no such key; did you mean %s?", name)
	} else if elsewhere := named(reflect.TypeFor[Config](), "", k.Value); len(elsewhere) > 0 {
		w.fault(k.Line, at, "no such key; did you mean %s?", orList(elsewhere))
	} else {
		w.fault(k.Line, at, "no such key; want %s", orList(names))
	}
}

// named returns the dotted keys under t whose last part is name.
func named(t reflect.Type, parent, name string) []string {
	var found []string
	for f := range t.Fields() {
		at := join(parent, f.Tag.Get("yaml"))
		if f.Tag.Get("yaml") == name {
			found = append(found, at)
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			found = append(found, named(f.Type, at, name)...)
		case f.Type == reflect.TypeFor[[]Metric]():
			found = append(found, named(f.Type.Elem(), at+"[]", name)...)
		}
	}
	return found
}

// rule reports a fault of the whole rather than of one value: on the line of
// the key, or of the section it is missing from.
func (w *walker) rule(key, format string, args ...any) {
	if w.bad[key] {
		return
	}
	line, at := 0, key
	for line == 0 && at != "" {
		line = w.lines[at]
		at = at[:max(0, strings.LastIndexByte(at, '.'))]
	}
	w.fault(line, key, format, args...)
}

func plainKey(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r)
	})
}

func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// describe says what a node is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*)"
	}
	tag := n.ShortTag()
	switch {
	case tag == "!!null":
		return "nothing"
	case tag == "!!str":
		return quote(n.Value)
	case slices.Contains([]string{"!!int", "!!float", "!!bool", "!!timestamp"}, tag):
		return strings.Trim(quote(n.Value), `"`)
	}
	return "a value with the tag " + quote(tag)
}
