package health

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"
)

// A question is the parameters of /api/query: name (repeated), since and until (Unix
// milliseconds, or a duration before now), step (a duration), and rate=1 for the
// increase per second of counters.
type question struct {
	names        []string
	since, until int64 // Unix milliseconds; whole steps
	step         time.Duration
	rate         bool
}

// parseQuestion reads a query string. It fails on an unknown parameter and on
// anything beyond the bounds.
func parseQuestion(raw string, now time.Time) (question, error) {
	q, err := parseSpan(raw, now)
	if err == nil {
		err = q.checkNames()
	}
	return q, err
}

// parseSpan is parseQuestion for a question that may name no metric.
func parseSpan(raw string, now time.Time) (question, error) {
	q := question{until: now.UnixMilli()}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, errors.New("the query string is malformed")
	}
	for key, list := range values {
		if key != "name" && len(list) != 1 {
			return q, fmt.Errorf("%.20q is given %d times", key, len(list))
		}
		switch value := list[0]; key {
		case "name":
			q.names = list
		case "since":
			q.since, err = parseTime(value, now)
		case "until":
			q.until, err = parseTime(value, now)
		case "step":
			q.step, err = time.ParseDuration(value)
		case "rate":
			q.rate, err = strconv.ParseBool(value)
		default:
			return q, fmt.Errorf("no such parameter: %.20q; there are name, since, until, step and rate", key)
		}
		if err != nil {
			return q, fmt.Errorf("%s: want %s, got %.40q", key, map[string]string{
				"since": "Unix milliseconds, or a duration before now such as 1h",
				"until": "Unix milliseconds, or a duration before now such as 5m",
				"step":  "a duration such as 30s", "rate": "1 or 0",
			}[key], list[0])
		}
	}
	return q, q.checkSpan()
}

func (q *question) checkNames() error {
	if len(q.names) == 0 || len(q.names) > maxNames {
		return fmt.Errorf("name: want 1 to %d, got %d", maxNames, len(q.names))
	}
	for _, name := range q.names {
		if name == "" || len(name) > maxNameBytes {
			return fmt.Errorf("name: want 1 to %d bytes, got %d", maxNameBytes, len(name))
		}
	}
	return nil
}

func (q *question) checkSpan() error {
	// A board without a clock begins in 1970; nothing is before that.
	span := time.Duration(q.until-q.since) * time.Millisecond
	if q.since <= 0 || q.until-q.since <= 0 || q.until-q.since > maxRange.Milliseconds() {
		return fmt.Errorf("since: want a time at most %s before until", human(maxRange))
	}
	if q.step < minStep || q.step%time.Millisecond != 0 || span/q.step > maxPoints {
		return fmt.Errorf("step: want at least %s for this range",
			max(minStep, (span/maxPoints).Truncate(time.Second)+time.Second))
	}
	// The range begins at a whole step: otherwise the same bucket would have other
	// values in each query.
	q.since = q.since / q.step.Milliseconds() * q.step.Milliseconds()
	return nil
}

// parseTime reads Unix milliseconds, or a duration before now.
func parseTime(text string, now time.Time) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		if ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
			return 0, errors.New("out of range")
		}
		return ms, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("not a time")
	}
	return now.Add(-d).UnixMilli(), nil
}
