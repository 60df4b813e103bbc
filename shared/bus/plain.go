package bus

import "github.com/godbus/dbus/v5"

// plain makes a Go value of what the library returns: without its own types for
// variants and paths.
func plain(value any) any {
	switch v := value.(type) {
	case dbus.Variant:
		return plain(v.Value())
	case dbus.ObjectPath:
		return string(v)
	case map[string]dbus.Variant:
		return plainMap(v)
	case []any:
		all := make([]any, len(v))
		for i, one := range v {
			all[i] = plain(one)
		}
		return all
	case [][]any:
		all := make([]any, len(v))
		for i, one := range v {
			all[i] = plain(one)
		}
		return all
	}
	return value
}

func plainMap(m map[string]dbus.Variant) Properties {
	all := make(Properties, len(m))
	for name, v := range m {
		all[name] = plain(v)
	}
	return all
}

// Text returns a property that is a text, "" for one that is none.
func (p Properties) Text(name string) string {
	text, _ := p[name].(string)
	return text
}

// Number returns a property that is a number, and whether it is one.
func (p Properties) Number(name string) (float64, bool) { return Number(p[name]) }

// Number returns a value that is a number, and whether it is one.
func Number(value any) (float64, bool) {
	switch v := value.(type) {
	case int16:
		return float64(v), true
	case uint16:
		return float64(v), true
	case int32:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	case byte:
		return float64(v), true
	}
	return 0, false
}

// List returns a property that is an array or a structure.
func (p Properties) List(name string) []any {
	list, _ := p[name].([]any)
	return list
}

// Map returns a property that is a dictionary.
func (p Properties) Map(name string) Properties {
	m, _ := p[name].(Properties)
	return m
}
