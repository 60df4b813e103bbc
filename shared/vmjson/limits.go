package vmjson

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// What VictoriaMetrics takes with its default flags. Beyond these it drops
// labels, cuts values or skips samples, and still answers 204.
const (
	MaxLabels     = 30             // of one series, __name__ and device_id among them (-maxLabelsPerTimeseries)
	MaxNameBytes  = 256            // of a metric name or a label name
	MaxValueBytes = 4 << 10        // of a label value (-maxLabelValueLen)
	MaxAhead      = 48 * time.Hour // of a timestamp before the server's clock
)

// CheckSample says why VictoriaMetrics would not keep a sample: a value that is
// not finite, a time not after 1970, more than MaxAhead after now, or more than
// retention before it (0: no such limit). Times are Unix milliseconds.
func CheckSample(value float64, timeMs, nowMs int64, retention time.Duration) error {
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return fmt.Errorf("value is not finite: %v", value)
	case timeMs <= 0:
		return fmt.Errorf("timestamp %d is not after 1970", timeMs)
	case timeMs > nowMs && timeMs-nowMs > MaxAhead.Milliseconds():
		return fmt.Errorf("timestamp %d is more than %d h ahead", timeMs, int64(MaxAhead.Hours()))
	case retention > 0 && timeMs < nowMs-retention.Milliseconds():
		return fmt.Errorf("timestamp %d is older than the server's retention of %v", timeMs, retention)
	}
	return nil
}

// checkSeries says what is wrong with a series that is to be sent, and returns
// those of the further labels that go with it.
func checkSeries(wireName, deviceID, tags string, further []Label) ([]Label, error) {
	if err := checkName(wireName); err != nil {
		return nil, err
	}
	if deviceID == "" {
		return nil, errors.New("device_id is empty")
	}
	if err := checkLabelValue("device_id", deviceID); err != nil {
		return nil, err
	}
	labels, err := checkTags(tags)
	if err != nil {
		return nil, err
	}
	var with []Label
	for _, l := range further {
		if l.Value == "" || slices.ContainsFunc(labels, func(tag Label) bool { return tag.Name == l.Name }) {
			continue
		}
		if err := checkLabel(l.Name, l.Value); err != nil {
			return nil, err
		}
		with = append(with, l)
	}
	if len(labels)+len(with)+2 > MaxLabels {
		return nil, fmt.Errorf("more than %d labels", MaxLabels)
	}
	return with, nil
}

// checkTags reads the canonical text of tags.
func checkTags(tags string) ([]Label, error) {
	if tags == "" {
		return nil, nil
	}
	s := scanner{data: []byte(tags)}
	labels, err := s.labels(nil)
	if err == nil && s.pos < len(s.data) {
		err = s.errorf("bytes after the object")
	}
	if err == nil && s.spaces {
		err = errors.New("not canonical: white space")
	}
	if err != nil {
		return nil, fmt.Errorf("tags: %w", err)
	}
	for i, l := range labels {
		switch {
		case l.Name == "__name__" || l.Name == "device_id":
			return nil, fmt.Errorf("tags: %s is reserved", l.Name)
		case i > 0 && l.Name < labels[i-1].Name:
			return nil, fmt.Errorf("tags: not canonical: %s after %s", clip(l.Name), clip(labels[i-1].Name))
		}
	}
	return labels, nil
}

// checkName holds a metric name to ^[a-zA-Z_:][a-zA-Z0-9_:]*$ (Prometheus data
// model) and MaxNameBytes.
func checkName(name string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("metric name is over %d bytes: %s", MaxNameBytes, clip(name))
	}
	if !legalName(name, true) {
		return fmt.Errorf("not a metric name: %s", clip(name))
	}
	return nil
}

// checkLabel holds a label to ^[a-zA-Z_][a-zA-Z0-9_]*$ (Prometheus data model),
// MaxNameBytes, and what checkLabelValue asks.
func checkLabel(name, value string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("label name is over %d bytes: %s", MaxNameBytes, clip(name))
	}
	if !legalName(name, false) {
		return fmt.Errorf("not a label name: %s", clip(name))
	}
	return checkLabelValue(name, value)
}

// checkLabelValue holds a label value to UTF-8 and MaxValueBytes.
func checkLabelValue(name, value string) error {
	if len(value) > MaxValueBytes {
		return fmt.Errorf("value of label %s is over %d bytes", clip(name), MaxValueBytes)
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("value of label %s is not UTF-8", clip(name))
	}
	return nil
}

func legalName(name string, colons bool) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == ':' && colons:
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}
