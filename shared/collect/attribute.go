package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// maxOfKind bounds what one collector reports of one kind: groups of
// processors, sensors, cooling devices. A board has about ten of each.
const maxOfKind = 32

// A seldom says when values that hardly ever change are reported: in the first round and
// in each tenth after it. Reported each time they would be a third of all samples.
type seldom struct{ round int }

func (s *seldom) due() bool {
	s.round++
	return s.round%10 == 1
}

// absent says whether an error means that there is nothing to read: no such file, a
// device that was unplugged while it was read, or a driver without this value. Any other
// error is a reading that failed.
func absent(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	for _, no := range []error{syscall.ENOTDIR, syscall.ENODEV, syscall.ENXIO, syscall.ENODATA, syscall.EOPNOTSUPP} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// entries returns the names in a directory, in order; none for one that is not
// there. Entries of /sys/class are links, so their kind says nothing.
func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, nil
}

// list is entries, with what goes wrong added to the faults of the round.
func (r *reading) list(elem ...string) []string {
	names, err := entries(filepath.Join(elem...))
	r.fault(err)
	return names
}

// text reads one attribute. It returns false if the attribute is absent, and if it cannot
// be read, which is a fault of the round.
func (r *reading) text(elem ...string) (string, bool) {
	value, err := hostfs.ReadValue(filepath.Join(elem...))
	if err == nil {
		return value, true
	}
	if !absent(err) {
		r.fault(err)
	}
	return "", false
}

// number is text for a whole number between low and high; another one is a
// fault of the round.
func (r *reading) number(low, high int64, elem ...string) (int64, bool) {
	value, ok := r.text(elem...)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(value, 10, 64)
	if err == nil && (v < low || v > high) {
		err = fmt.Errorf("%d is not between %d and %d", v, low, high)
	} else if err != nil {
		err = fmt.Errorf("%s is not a whole number", quote([]byte(value)))
	}
	if err != nil {
		r.addf("read %s: %w; value skipped", filepath.Join(elem...), err)
		return 0, false
	}
	return v, true
}

// counter adds the count in a file under the given name.
func (r *reading) counter(name, tags string, elem ...string) {
	value, ok := r.text(elem...)
	if !ok {
		return
	}
	v, err := whole([]byte(value))
	if err != nil {
		r.addf("read %s: %w; value skipped", filepath.Join(elem...), err)
		return
	}
	r.add(name, tags, float64(v))
}

// tag is name for a value that is already text; a bad one is a fault.
func (r *reading) tag(of, value string) (string, bool) {
	value, err := name([]byte(value))
	if err != nil {
		r.addf("read %s: %w; skipped", of, err)
		return "", false
	}
	return value, true
}

// A choice bounds the devices of a collector. Devices that were reported stay, so that a
// new device never ends the series of another; free places are given by name.
type choice struct {
	most     int
	reported map[string]bool
	dropped  uint64 // left out since the start, summed over the rounds
}

// of returns those of names that are reported this round, in order of name.
func (c *choice) of(names []string) []string {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	chosen := make([]string, 0, min(len(sorted), c.most))
	for _, known := range []bool{true, false} {
		for _, n := range sorted {
			if c.reported[n] == known && len(chosen) < c.most {
				chosen = append(chosen, n)
			}
		}
	}
	c.dropped += uint64(len(sorted) - len(chosen))
	c.reported = make(map[string]bool, len(chosen))
	for _, n := range chosen {
		c.reported[n] = true
	}
	slices.Sort(chosen)
	return chosen
}

// dropped adds the count of devices left out, once there are any.
func (r *reading) dropped(collector string, choices ...*choice) {
	n := uint64(0)
	for _, c := range choices {
		n += c.dropped
	}
	r.leftOut(collector, n)
}

// leftOut is dropped for a collector that counts by itself.
func (r *reading) leftOut(collector string, n uint64) {
	if n > 0 {
		r.add("collector.devices_dropped_total", metric.Tags("collector", collector), float64(n))
	}
}
