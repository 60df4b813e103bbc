package metric

import "strings"

// scales are the units of the catalogue that are not base units, with the ends of
// the names that have them, the base unit's, and what a value is divided by.
var scales = map[string]struct {
	end, base string
	divisor   float64
}{
	"milliseconds":    {"_ms", "_seconds", 1000},
	"bits per second": {"_bits_per_second", "_bytes_per_second", 8},
	"bits a second":   {"_bits_per_second", "_bytes_per_second", 8},
}

// InBaseUnit returns the name of an entry with its unit made Prometheus' base
// unit (https://prometheus.io/docs/practices/naming/), and what its values are
// divided by then: the wire name and 1 where the name has no other unit.
func (e Entry) InBaseUnit() (name string, divisor float64) {
	name = WireName(e.Name)
	total := ""
	if e.Kind == Counter && strings.HasSuffix(name, "_total") {
		name, total = strings.TrimSuffix(name, "_total"), "_total"
	}
	scale, known := scales[e.Unit]
	if stem, ok := strings.CutSuffix(name, scale.end); known && ok {
		return stem + scale.base + total, scale.divisor
	}
	return name + total, 1
}
