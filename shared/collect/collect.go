// Package collect reads the machine. Each collector is one file: a struct with
// its paths and previous readings, Collect, and a pure parser of the bytes read.
// To add one, copy load.go, give its metrics rows in the catalogue, and add a
// line to All.
//
// The one rule here: a value that could not be read is missing and counted,
// never 0. A collector does not log, store or wait; its caller does.
package collect

import (
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// A Collector reads one source and returns its samples.
type Collector interface {
	// Collect returns the samples of one round, all stamped now. It may return
	// both samples and an error: what could be read, and what could not (see
	// Failed). ErrNoData means nothing to report yet: the first of two readings,
	// no such device. One goroutine at a time may call it.
	Collect(now time.Time) ([]metric.Sample, error)
}

// ErrNoData says that a round has nothing to report, and that nothing is wrong.
var ErrNoData = errors.New("nothing to report")

// A Note in an error of Collect names something that is left out on purpose. It is no
// failure, and is logged once.
type Note string

func (n Note) Error() string { return string(n) }

// Notes returns the notes in an error of Collect.
func Notes(err error) []Note {
	var notes []Note
	each(err, func(leaf error) {
		if n, ok := leaf.(Note); ok { //nolint:errorlint // the end of a chain
			notes = append(notes, n)
		}
	})
	return notes
}

// Scheduled is a collector with its name in the configuration, its interval, and its
// samples' priority at upload (0 first). Optional says that many machines have nothing
// for it to read: it has no self-metrics until it has found something.
type Scheduled struct {
	Collector
	Name     string
	Interval time.Duration
	Priority int
	Optional bool
}

// All returns the collectors of the configuration that run, in its order; version
// is that of the program. Its errors name the key that is at fault, and are returned together.
func All(cfg config.Config, roots hostfs.Roots, version string) ([]Scheduled, error) {
	var all []Scheduled
	var wrong []error
	seen := map[string]bool{}
	for i, m := range cfg.Metrics {
		if !m.Collected() {
			continue
		}
		key := fmt.Sprintf("metrics[%d]", i)
		if seen[m.Name] {
			wrong = append(wrong, fmt.Errorf("%s.name: %s is listed twice", key, m.Name))
			continue
		}
		seen[m.Name] = true
		if m.Interval <= 0 {
			wrong = append(wrong, fmt.Errorf("%s.interval: must be > 0, got %v", key, m.Interval))
		}
		c, err := newCollector(m, roots, key+".config")
		optional := false
		if c == nil && err == nil {
			optional = true
			c, err = newOptional(m, roots, version, key+".config")
		}
		if c == nil && err == nil {
			err = fmt.Errorf("%s.name: no collector is called %q", key, m.Name)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		all = append(all, Scheduled{c, m.Name, m.Interval, m.Priority, optional})
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return all, nil
}

// newCollector makes a collector for something that every machine has; nil for other
// names.
func newCollector(m config.Metric, roots hostfs.Roots, key string) (Collector, error) {
	switch m.Name {
	case "cpu.usage":
		return newCPU(roots), nil
	case "cpu.temperature":
		return made(newThermal(roots, m.Config, key))
	case "memory.usage":
		return newMemory(roots), nil
	case "disk.io":
		return made(newDiskIO(roots, m.Config, key))
	case "disk.usage":
		return made(newDiskUsage(roots, m.Config, key))
	case "network.traffic":
		return made(newNetwork(roots, m.Config, key))
	case "system.load":
		return newLoad(roots), nil
	case "system.uptime":
		return newUptime(roots), nil
	}
	return nil, nil
}

// newOptional makes a collector for something that only some machines have; nil for other
// names.
func newOptional(m config.Metric, roots hostfs.Roots, version, key string) (Collector, error) {
	switch m.Name {
	case "stream.events":
		return newStreamEvents(roots, m.Config), nil
	case "stream.links":
		return newStreamLinks(roots, m.Config), nil
	case "soc.load":
		return newSoC(roots), nil
	case "network.health":
		return made(newNetHealth(roots, m.Config, key))
	case "unit.usage":
		return newUnits(roots, m.Config), nil
	case "textfile":
		return newTextfile(m.Config), nil
	case "modem.status":
		return newModems(), nil
	case "hdmi.input":
		return newHDMI(roots, m.Config), nil
	case "receiver.srt":
		return made(newReceiver(m.Config, key))
	case "board.power":
		return newPower(roots), nil
	case "system.pressure":
		return newPressure(roots), nil
	case "storage.wear":
		return newWear(roots), nil
	case "board.info":
		return newInfo(roots, version), nil
	}
	return nil, nil
}

// made returns c, or a nil interface (not one with a nil pointer in it) after an error.
func made[C Collector](c C, err error) (Collector, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Failed returns the number of failed readings in an error of Collect: one for each
// joined error, and none for nil, ErrNoData and a Note.
func Failed(err error) int {
	n := 0
	each(err, func(leaf error) {
		switch leaf := leaf.(type) { //nolint:errorlint // the end of a chain
		case further:
			n += int(leaf)
		case Note:
		default:
			if leaf != ErrNoData { //nolint:errorlint // the end of a chain
				n++
			}
		}
	})
	return n
}

// each calls f with every error at the end of a chain of wrapped and joined ones.
func each(err error, f func(leaf error)) {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself, branch by branch
	case nil:
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			each(one, f)
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			each(inner, f)
			return
		}
		f(err)
	default:
		f(err)
	}
}

// A reading gathers what one round read and what it could not.
type reading struct {
	timeMs  int64
	samples []metric.Sample
	faults
}

func newReading(now time.Time) reading { return reading{timeMs: now.UnixMilli()} }

func (r *reading) add(name, tags string, value float64) {
	r.samples = append(r.samples, metric.Sample{Name: name, Tags: tags, TimeMs: r.timeMs, Value: metric.Round(value)})
}

// done ends a round; one without samples and without faults is ErrNoData.
func (r *reading) done() ([]metric.Sample, error) {
	err := r.err()
	if err == nil && len(r.samples) == 0 {
		err = ErrNoData
	}
	return r.samples, err
}
