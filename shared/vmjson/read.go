package vmjson

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Label is one name and value of a series; in the database it is called tag.
type Label struct{ Name, Value string }

// A Line is one series with samples: Values[i] at Timestamps[i], Unix
// milliseconds. Labels are in the order of the text, without __name__, which is
// Name.
type Line struct {
	Name       string
	Labels     []Label
	Values     []float64
	Timestamps []int64
}

// Limits bound what Read takes; zero means no limit.
type Limits struct {
	LineBytes int // a longer line is refused, and skipped without being held in memory
	Samples   int // in all lines together; beyond, Read ends with ErrTooManySamples
}

// ErrTooManySamples is what Read ends with when Limits.Samples is passed.
var ErrTooManySamples = errors.New("too many samples")

// Read calls each for every line of r: with the line, or with the reason why it
// is refused. Lines are numbered from 1. Empty lines are counted and passed
// over, as VictoriaMetrics does; the last line may lack its newline. The slices
// of a Line are good only during the call.
//
// A line is refused for whatever VictoriaMetrics would skip or change without
// saying so: no JSON, no metric or __name__, a name or label that breaks the
// limits, values that are not finite numbers, timestamps that are not integers,
// arrays empty or of different length, a key unknown or twice, bytes after the
// object, more than Limits.LineBytes. Whether times lie in a server's window is
// for CheckSample.
//
// Read ends with the first error of r or of each, and then the lines it gave
// are not the whole text.
func Read(r io.Reader, limits Limits, each func(number int, line Line, refused error) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var text []byte
	var line Line
	samples := 0
	for number, last := 1, false; !last; number++ {
		var long bool
		var err error
		text, long, last, err = readLine(in, text[:0], limits.LineBytes)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		var refused error
		if long {
			refused = fmt.Errorf("line is over %d bytes", limits.LineBytes)
		} else if len(text) == 0 {
			continue
		} else {
			refused = line.parse(text)
		}
		given := line
		if refused != nil {
			given = Line{}
		}
		samples += len(given.Values)
		if limits.Samples > 0 && samples > limits.Samples {
			return fmt.Errorf("line %d: %w, the limit is %d", number, ErrTooManySamples, limits.Samples)
		}
		if err := each(number, given, refused); err != nil {
			return err
		}
	}
	return nil
}

// readLine appends one line to buf, without its end, and says whether it is the
// last. A line over limit bytes is read to its end and not kept.
func readLine(in *bufio.Reader, buf []byte, limit int) (text []byte, long, last bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if !long {
			buf = append(buf, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = long || limit > 0 && len(buf) > limit+len("\r\n")
			continue
		}
		if err == io.EOF {
			last, err = true, nil
		}
		buf = bytes.TrimSuffix(buf, []byte("\n"))
		buf = bytes.TrimSuffix(buf, []byte("\r"))
		return buf, long || limit > 0 && len(buf) > limit, last, err
	}
}

// parse reads one line into l, whose slices it reuses.
func (l *Line) parse(text []byte) error {
	l.Name, l.Labels, l.Values, l.Timestamps = "", l.Labels[:0], l.Values[:0], l.Timestamps[:0]
	s := scanner{data: text}
	if err := s.expect('{'); err != nil {
		return err
	}
	var seen members
	for first := true; ; first = false {
		more, err := s.next(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := l.member(&s, &seen); err != nil {
			return err
		}
	}
	if s.peek(); s.pos < len(s.data) {
		return s.errorf("bytes after the object: %s", s.found())
	}
	switch {
	case !seen.metric:
		return errors.New(`no "metric"`)
	case len(l.Values) == 0:
		return errors.New("no values")
	case len(l.Values) != len(l.Timestamps):
		return fmt.Errorf("%d values at %d timestamps", len(l.Values), len(l.Timestamps))
	}
	return l.takeName()
}

// members says which keys of a line were read.
type members struct{ metric, values, timestamps bool }

// member reads one key and its value.
func (l *Line) member(s *scanner, have *members) error {
	key, err := s.str()
	if err != nil {
		return err
	}
	if err := s.expect(':'); err != nil {
		return err
	}
	var seen *bool
	var read func() error
	switch key {
	case "metric":
		seen, read = &have.metric, func() (err error) { l.Labels, err = s.labels(l.Labels); return err }
	case "values":
		seen, read = &have.values, func() (err error) { l.Values, err = s.floats(l.Values); return err }
	case "timestamps":
		seen, read = &have.timestamps, func() (err error) { l.Timestamps, err = s.integers(l.Timestamps); return err }
	default:
		return fmt.Errorf("unknown key %s", clip(key))
	}
	if *seen {
		return fmt.Errorf("key %q twice", key)
	}
	*seen = true
	if err := read(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// takeName takes the name out of the labels.
func (l *Line) takeName() error {
	for i, label := range l.Labels {
		if label.Name == "__name__" {
			l.Name = label.Value
			l.Labels = append(l.Labels[:i], l.Labels[i+1:]...)
			return nil
		}
	}
	return errors.New("metric: no __name__")
}
