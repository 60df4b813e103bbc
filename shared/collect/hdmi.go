package collect

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/v4l2"
)

const (
	maxInputs = 4
	// On an RK3588 a query without a signal costs a line in the kernel's log and some
	// milliseconds. Queries are queryEvery apart at least, and after each one without a
	// lock twice as far, up to queryAtMost.
	queryEvery  = 30 * time.Second
	queryAtMost = 5 * time.Minute
)

// hdmiChanges counts on over restarts, as the counts of events do.
const hdmiChanges = "hdmi.changes_total"

// The values of hdmi.signal.
const (
	noCable = 0
	noLock  = 1
	locked  = 2
)

// videoDevice is an open device.
type videoDevice interface {
	v4l2.Device
	io.Closer
}

// hdmiCollector reads the signals at the HDMI inputs.
type hdmiCollector struct {
	status  string // file of Rockchip's kernels, read before any device
	inputs  []*hdmiInput
	beyond  int                                    // inputs of the configuration that are left out
	dropped uint64                                 // the same, summed over the rounds
	open    func(path string) (videoDevice, error) // replaced in tests
}

func newHDMI(roots hostfs.Roots, cfg config.MetricConfig) *hdmiCollector {
	devices := cfg.Devices[:min(len(cfg.Devices), maxInputs)]
	c := &hdmiCollector{
		status: roots.SysPath("class", "hdmirx", "hdmirx", "status"),
		beyond: len(cfg.Devices) - len(devices),
		open:   func(path string) (videoDevice, error) { return v4l2.Open(path) },
	}
	for _, path := range devices {
		tag := strings.TrimPrefix(filepath.Base(path), "belabox-")
		c.inputs = append(c.inputs, &hdmiInput{path: path, tags: metric.Tags("input", tag)})
	}
	return c
}

// Collect returns, of each input that there is, hdmi.signal and
// hdmi.changes_total, and the picture while the input has a lock on one.
func (c *hdmiCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	unplugged := c.unplugged(&r)
	for i, in := range c.inputs {
		// The receiver that the status is of is the first input.
		if i == 0 && unplugged {
			in.unplug()
			in.report(&r, hdmiState{signal: noCable})
			continue
		}
		device, err := c.open(in.path)
		if absent(err) {
			continue
		}
		if err != nil {
			r.fault(err)
			continue
		}
		state, err := in.look(device, now)
		device.Close()
		switch {
		case errors.Is(err, v4l2.ErrNotHDMI):
		case err != nil:
			r.fault(fmt.Errorf("ask %s: %w", in.path, err))
		default:
			in.report(&r, state)
		}
	}
	c.dropped += uint64(c.beyond) //nolint:gosec // not negative
	r.leftOut("hdmi.input", c.dropped)
	return r.done()
}

// Restore goes on counting the changes where an earlier run stopped.
func (c *hdmiCollector) Restore(k LastRun) {
	for _, in := range c.inputs {
		for _, n := range k.Counts {
			if n.Name == hdmiChanges && n.Tags == in.tags && n.Value > 0 {
				in.changes = uint64(n.Value)
				in.kept = in.changes
			}
		}
	}
}

// Observe is Collect; the changes that were counted are to be kept.
func (c *hdmiCollector) Observe(now Moment) (o Observation, err error) {
	o.Samples, err = c.Collect(now.Wall)
	for _, in := range c.inputs {
		o.Counts = append(o.Counts, metric.Count{Name: hdmiChanges, Tags: in.tags, Value: float64(in.changes)})
		o.Keep = o.Keep || in.changes != in.kept
		in.kept = in.changes
	}
	o.State = struct{}{}
	return o, err
}

// unplugged says whether the kernel's own file says so. It is there on Rockchip's
// kernels, and costs nothing.
func (c *hdmiCollector) unplugged(r *reading) bool {
	value, err := hostfs.ReadValue(c.status)
	switch {
	case absent(err):
		return false
	case err != nil:
		r.fault(err)
	case value == "disconnected":
		return true
	case value != "connected":
		r.addf("read %s: %s is neither connected nor disconnected", c.status, quote([]byte(value)))
	}
	return false
}

// hdmiInput is one input and its last state.
type hdmiInput struct {
	path, tags string

	powered bool      // when it was looked at last
	queried time.Time // zero: never
	failed  int       // queries without a lock, one after the other
	found   answerOfQuery

	reported bool
	last     hdmiState
	changes  uint64
	kept     uint64 // of them, when they were said to be kept
}

// answerOfQuery is the result of the last query: a state, or an error.
type answerOfQuery struct {
	hdmiState
	err error
}

// hdmiState is the reported state of an input.
type hdmiState struct {
	signal  int
	picture v4l2.Timings
}

// look queries the power each time, the timings that the driver has while there was a
// lock, and makes the driver search for a signal when that is due.
func (in *hdmiInput) look(d v4l2.Device, now time.Time) (hdmiState, error) {
	if err := v4l2.Input(d); err != nil {
		return hdmiState{}, err
	}
	powered, err := v4l2.Powered(d)
	if errors.Is(err, v4l2.ErrNoAnswer) {
		powered, err = true, nil // then only a query tells
	}
	if err != nil {
		return hdmiState{}, err
	}
	if !powered {
		in.unplug()
		return hdmiState{signal: noCable}, nil
	}
	if !in.powered { // the signal comes soon after the cable
		in.powered, in.failed = true, 0
	}
	switch due := in.queried.IsZero() || now.Sub(in.queried) >= in.wait(); {
	case due:
		in.queried = now
		in.found = found(v4l2.Query(d))
		if in.found.signal == locked {
			in.failed = 0
		} else {
			in.failed++
		}
	case in.found.signal == locked:
		in.found = found(v4l2.Current(d))
	}
	return in.found.hdmiState, in.found.err
}

// wait is the least time from one query to the next: half a minute, and twice
// as long after each one without a lock that follows another.
func (in *hdmiInput) wait() time.Duration {
	return min(queryEvery<<min(max(in.failed-1, 0), 10), queryAtMost)
}

// found is the meaning of an answer of the driver.
func found(t v4l2.Timings, err error) answerOfQuery {
	switch {
	case err == nil:
		return answerOfQuery{hdmiState: hdmiState{locked, t}}
	case errors.Is(err, v4l2.ErrNoCable):
		return answerOfQuery{hdmiState: hdmiState{signal: noCable}}
	case errors.Is(err, v4l2.ErrNoLock):
		return answerOfQuery{hdmiState: hdmiState{signal: noLock}}
	}
	return answerOfQuery{err: err}
}

// unplug forgets the power and the lock. It does not make the next query earlier.
func (in *hdmiInput) unplug() {
	in.powered, in.found = false, answerOfQuery{hdmiState: hdmiState{signal: noLock}}
}

// report adds the samples of an input and counts the changes.
func (in *hdmiInput) report(r *reading, s hdmiState) {
	s.picture.Rate = math.Round(s.picture.Rate*1000) / 1000
	if in.reported && s != in.last {
		in.changes++
	}
	in.reported, in.last = true, s
	r.add("hdmi.signal", in.tags, float64(s.signal))
	r.add(hdmiChanges, in.tags, float64(in.changes))
	if s.signal != locked {
		return
	}
	interlaced := 0.0
	if s.picture.Interlaced {
		interlaced = 1
	}
	r.add("hdmi.width_pixels", in.tags, float64(s.picture.Width))
	r.add("hdmi.height_pixels", in.tags, float64(s.picture.Height))
	r.add("hdmi.rate_hz", in.tags, s.picture.Rate)
	r.add("hdmi.interlaced", in.tags, interlaced)
}
