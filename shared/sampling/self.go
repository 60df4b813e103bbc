package sampling

import (
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// processEvery and tallyEvery keep what we say about ourselves below a tenth
	// of what we say about the board.
	processEvery = time.Minute
	tallyEvery   = 5 * time.Minute
	// selfPriority is that of samples about ourselves: they go last.
	selfPriority = 3
)

// self is what the collector says about itself.
type self struct {
	tally          metric.Tally
	used           hostfs.SelfUse // by this process when it was last looked at
	process, count time.Time      // when each was said last
}

// samples returns what is due to be said now. A figure that cannot be had is
// left out: it is about us, and the board's samples must not wait for it.
func (s *self) samples(daemon string, now time.Time) []metric.Sample {
	var all []metric.Sample
	add := func(name string, value float64, tags string) {
		all = append(all, metric.Sample{Name: name, Tags: tags, TimeMs: now.UnixMilli(), Value: metric.Round(value)})
	}
	if now.Sub(s.process) >= processEvery {
		s.process = now
		if use, err := hostfs.Self(); err == nil {
			tags := metric.Tags("daemon", daemon)
			s.tally.Add("process.cpu_seconds_total", use.CPUSeconds-s.used.CPUSeconds, "daemon", daemon)
			add("process.cpu_seconds_total", s.tally.Value("process.cpu_seconds_total", "daemon", daemon), tags)
			if use.ResidentBytes >= 0 {
				add("process.resident_memory_bytes", float64(use.ResidentBytes), tags)
			}
			if use.WrittenBytes >= 0 {
				s.tally.Add("process.written_bytes_total", float64(use.WrittenBytes-s.used.WrittenBytes), "daemon", daemon)
				add("process.written_bytes_total", s.tally.Value("process.written_bytes_total", "daemon", daemon), tags)
			}
			s.used = use
		}
	}
	if now.Sub(s.count) >= tallyEvery {
		s.count = now
		for _, sample := range s.tally.Samples(now.UnixMilli()) {
			if !strings.HasPrefix(sample.Name, "process.") {
				all = append(all, sample)
			}
		}
	}
	return all
}
