package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// A room is what a filesystem answered.
type room struct {
	point string // where it was asked
	space hostfs.Space
	err   error
	took  time.Duration
}

// errNoPlace says that a mount is no filesystem to report.
var errNoPlace = errors.New("no filesystem of a device")

// askFilesystem asks for the room at the first of a filesystem's points that is
// a folder and may be looked at. It waits as long as the device does not answer.
// Files mounted over files, as containers have, are not places.
func askFilesystem(f filesystem) room {
	if info, err := os.Stat(f.source); err == nil && f.source != "" && (info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0) {
		return room{err: errNoPlace}
	}
	first := room{err: errNoPlace}
	for _, p := range f.points {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			continue
		}
		got := room{point: p}
		if got.space, got.err = hostfs.Filesystem(p); got.err == nil {
			return got
		}
		if first.point == "" {
			first = got
		}
	}
	return first
}

// askKey identifies a filesystem: the same device at another place may be
// another one, after a stick was pulled and another put in.
type askKey struct{ device, point string }

func (f filesystem) key() askKey { return askKey{f.device, f.points[0]} }

// asking is what is remembered of one filesystem.
type asking struct {
	answer chan room // nil: no answer is outstanding
	since  time.Time
	slow   bool // its last answer came late: rounds do not wait for the next one
}

// askAll asks all filesystems at once and returns their answers in order. It
// waits for those that answered in time before, at most answerWait.
func (c *diskUsageCollector) askAll(all []filesystem) []room {
	now := time.Now()
	answers := make([]room, len(all))
	mine := make([]*asking, len(all))
	c.forget(all)
	for i, f := range all {
		mine[i], answers[i].err = c.start(f, now)
	}
	deadline := time.NewTimer(answerWait)
	defer deadline.Stop()
	expired := false
	for i, a := range mine {
		if a != nil && !a.slow && !expired {
			select {
			case answers[i] = <-a.answer:
				a.answer = nil
			case <-deadline.C:
				expired = true
			}
		}
	}
	for i, a := range mine {
		if a == nil || a.answer == nil {
			continue
		}
		select {
		case answers[i] = <-a.answer:
			a.answer, a.slow = nil, false
		default:
			a.slow = true
			answers[i].err = fmt.Errorf("the filesystem at %q has not answered for %s; it is queried again once it has",
				all[i].points[0], time.Since(a.since).Round(time.Second/10))
		}
	}
	return answers
}

// start asks one filesystem, unless it still owes an answer.
func (c *diskUsageCollector) start(f filesystem, now time.Time) (*asking, error) {
	key := f.key()
	a := c.asked[key]
	if a == nil {
		if len(c.asked) >= 2*maxMounts {
			return nil, fmt.Errorf("the filesystem at %q is not queried: %d others have not answered", f.points[0], maxMounts)
		}
		a = &asking{}
		c.asked[key] = a
	}
	if a.answer != nil {
		select {
		case late := <-a.answer: // its round is over
			a.answer, a.slow = nil, late.took > answerWait
		default:
			return a, nil
		}
	}
	answer := make(chan room, 1)
	a.answer, a.since = answer, now
	go func() {
		got := c.ask(f)
		got.took = time.Since(now)
		answer <- got
	}()
	return a, nil
}

// forget drops what is remembered of filesystems that are gone and owe nothing.
func (c *diskUsageCollector) forget(all []filesystem) {
	there := make(map[askKey]bool, len(all))
	for _, f := range all {
		there[f.key()] = true
	}
	for key, a := range c.asked {
		if !there[key] && (a.answer == nil || len(a.answer) > 0) {
			delete(c.asked, key)
		}
	}
}
