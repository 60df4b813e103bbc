// Package vmjson is VictoriaMetrics' JSON line format, the body of
// /api/v1/import: one line per series, with its samples in two arrays.
//
//	{"metric":{"__name__":"up","device_id":"b7","core":"all"},"values":[1,0],"timestamps":[1751328000000,1751328010000]}
//
// The one rule here: a line that VictoriaMetrics would drop or change is an
// error with its reason, because VictoriaMetrics itself answers 204 to anything.
// Head checks a series once and gives the start of its lines; CheckSample checks
// a sample; Append writes. Read is the strict other side.
//
// Source: https://docs.victoriametrics.com/#json-line-format
package vmjson

import (
	"math"
	"strconv"

	"github.com/taniwha3/thugshells/shared/metric"
)

// Head returns the start of every line of one series, up to and including the
// bracket that opens the values. Tags is the series' canonical tags text, an
// object of strings such as {"core":"all"}, or "" or {} for none; its inside is
// taken over byte for byte. (A tag with an empty value is legal; the server keeps
// it as no tag.) Further labels come before the tags; one without a value, or of a
// name that is a tag, is left out. The error says which rule of this package's
// limits the series breaks; such a series can't be sent.
func Head(wireName, deviceID, tags string, further ...Label) ([]byte, error) {
	further, err := checkSeries(wireName, deviceID, tags, further)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, len(`{"metric":{"__name__":"","device_id":""},"values":[`)+len(wireName)+len(deviceID)+len(tags)+1)
	buf = append(buf, `{"metric":{"__name__":"`...)
	buf = append(buf, wireName...)
	buf = append(buf, `","device_id":`...)
	buf = metric.AppendJSONString(buf, deviceID)
	for _, l := range further {
		buf = append(append(append(buf, `,"`...), l.Name...), `":`...)
		buf = metric.AppendJSONString(buf, l.Value)
	}
	if len(tags) > len("{}") {
		buf = append(buf, ',')
		buf = append(buf, tags[1:len(tags)-1]...)
	}
	return append(buf, `},"values":[`...), nil
}

// Append appends one line: a head made by Head, then the samples, value i at
// timestamps[i] (Unix milliseconds). There is at least one sample, as many
// values as timestamps, and each has passed CheckSample; anything else panics,
// because the server would lose the line without a word. Nothing is allocated
// while buf has room.
func Append(buf, head []byte, values []float64, timestamps []int64) []byte {
	if len(values) == 0 || len(values) != len(timestamps) {
		panic("BUG: vmjson.Append: " + strconv.Itoa(len(values)) + " values at " + strconv.Itoa(len(timestamps)) + " times")
	}
	buf = append(buf, head...)
	for i, v := range values {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendNumber(buf, v)
	}
	buf = append(buf, `],"timestamps":[`...)
	for i, t := range timestamps {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = strconv.AppendInt(buf, t, 10)
	}
	return append(buf, "]}\n"...)
}

// appendNumber appends the shortest decimal that parses to v again. Whole
// numbers below 1e21 have no exponent and no fraction. Minus zero becomes 0;
// VictoriaMetrics keeps no sign of zero.
func appendNumber(buf []byte, v float64) []byte {
	a := math.Abs(v)
	if a < 1e15 && v == math.Trunc(v) {
		return strconv.AppendInt(buf, int64(v), 10)
	}
	// Nearly all values have at most six decimals, and need no search for the
	// shortest digits: below 1e15 every whole number is a float64, so the
	// division is rounded once, as a parser of the decimal rounds; and decimals
	// of up to 15 digits never share a float64, so no shorter one fits.
	if a < 1e9 {
		if micros := int64(a*1e6 + 0.5); float64(micros)/1e6 == a {
			return appendMicros(buf, v < 0, micros)
		}
	}
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		panic("BUG: vmjson.Append: a value that is not finite")
	case a >= 1e-4 && a < 1e21:
		return strconv.AppendFloat(buf, v, 'f', -1, 64)
	}
	return strconv.AppendFloat(buf, v, 'e', -1, 64)
}

// appendMicros appends micros / 1e6, which is not a whole number.
func appendMicros(buf []byte, negative bool, micros int64) []byte {
	if negative {
		buf = append(buf, '-')
	}
	whole, fraction := micros/1e6, micros%1e6
	buf = strconv.AppendInt(buf, whole, 10)
	buf = append(buf, '.')
	for unit := int64(1e5); fraction > 0; unit /= 10 {
		buf = append(buf, byte('0'+fraction/unit))
		fraction %= unit
	}
	return buf
}

// clip quotes s for an error message, cut to a readable length.
func clip(s string) string {
	const most = 40
	return metric.Quote(s, most)
}
