package collect

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// maxFaults bounds the errors kept of one round. A file that is garbage
	// from end to end has millions of lines.
	maxFaults = 16
	// maxName bounds a name that becomes a tag. The kernel's own limits are 15
	// bytes for an interface (IFNAMSIZ) and 31 for a disk (DISK_NAME_LEN).
	maxName = 64
	// shown is how much of a bad line an error quotes.
	shown = 60
)

// faults gathers what is wrong with parts of a source. The zero value has none.
type faults struct {
	errs  []error
	more  further
	notes []error
}

// further counts the faults past those that are kept.
type further int

func (f further) Error() string { return fmt.Sprintf("and %d more, skipped too", int(f)) }

// addf adds one fault. Beyond the limit it is only counted.
func (f *faults) addf(format string, args ...any) {
	if len(f.errs) >= maxFaults {
		f.more++
		return
	}
	f.fault(fmt.Errorf(format, args...))
}

func (f *faults) fault(err error) {
	if err == nil {
		return
	}
	if note, ok := err.(Note); ok { //nolint:errorlint // never wrapped
		if len(f.notes) < maxFaults {
			f.notes = append(f.notes, note)
		}
		return
	}
	if len(f.errs) >= maxFaults {
		f.more += further(Failed(err))
		return
	}
	f.errs = append(f.errs, err)
}

// err returns all faults joined, and the notes after them, or nil.
func (f *faults) err() error {
	all := slices.Clip(f.errs)
	if f.more > 0 {
		all = append(all, f.more)
	}
	return errors.Join(append(all, f.notes...)...)
}

// lines returns the lines of data that are not empty, without their line ends. A line may
// have any length: the line intr of /proc/stat exceeds 64 KiB on servers.
func lines(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(data) {
			line = bytes.TrimRight(line, "\r\n")
			if len(bytes.TrimLeft(line, " \t")) > 0 && !yield(line) {
				return
			}
		}
	}
}

// split returns the first fields of a line, at most as many as dst holds.
func split(line []byte, dst [][]byte) [][]byte {
	n := 0
	for n < len(dst) {
		line = bytes.TrimLeft(line, " \t")
		if len(line) == 0 {
			break
		}
		end := bytes.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		dst[n] = line[:end]
		line = line[end:]
		n++
	}
	return dst[:n]
}

// whole reads a count that the kernel printed: decimal digits, 64 bits.
func whole(field []byte) (uint64, error) {
	if len(field) == 0 || len(field) > 20 {
		return 0, fmt.Errorf("%s is not a whole number", quote(field))
	}
	v, err := strconv.ParseUint(string(field), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of 64 bits", quote(field))
	}
	return v, nil
}

// wholes reads as many counts as dst holds from fields, the first of which is
// field number first of its line.
func wholes(fields [][]byte, first int, dst []uint64) error {
	for i := range dst {
		v, err := whole(fields[i])
		if err != nil {
			return fmt.Errorf("field %d: %w", first+i, err)
		}
		dst[i] = v
	}
	return nil
}

// decimal reads a number like 12.34: digits and at most one point. The kernel
// prints nothing else, so inf, NaN, signs and exponents are refused.
func decimal(field []byte) (float64, error) {
	wrong := func(c rune) bool { return (c < '0' || c > '9') && c != '.' }
	if len(field) <= 24 && !bytes.ContainsFunc(field, wrong) {
		if v, err := strconv.ParseFloat(string(field), 64); err == nil {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%s is not a decimal number", quote(field))
}

// name makes a tag value of a name the kernel printed. Two names that differ are
// two series.
func name(field []byte) (string, error) {
	if len(field) == 0 {
		return "", errors.New("no name")
	}
	if len(field) > maxName {
		return "", fmt.Errorf("a name of %d bytes", len(field))
	}
	return distinct(string(field)), nil
}

// quote returns the beginning of a line, quoted for an error.
func quote(line []byte) string {
	return metric.Quote(line, shown)
}
