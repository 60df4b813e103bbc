package ship

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// selfPriority is that of samples about ourselves: they go last.
	selfPriority = 3
	// selfEvery is how often they are taken.
	selfEvery = time.Minute

	uploaded  = "uploader.metrics_uploaded_total"
	failures  = "uploader.upload_failures_total"
	partial   = "uploader.partial_success_total"
	bytesSent = "uploader.bytes_sent_total"
	duration  = "uploader.upload_duration_seconds"
	rejected  = "storage.rejected_total"
)

// self is what the shipper counts about itself. The counts are written with what
// they count, and only those that changed.
type self struct {
	tally   metric.Tally
	written map[string]float64 // by name and tags
	said    time.Time
}

func (s *self) restore(counts []metric.Count) {
	for _, name := range []string{uploaded, failures, partial, bytesSent, rejected} {
		s.tally.Add(name, 0)
	}
	s.tally.Restore(slices.DeleteFunc(slices.Clone(counts), func(c metric.Count) bool {
		return !strings.HasPrefix(c.Name, "uploader.") && c.Name != rejected
	}))
	s.written = map[string]float64{}
	s.wrote(s.tally.All())
}

// changed returns the counts that are not written yet, others among them.
func (s *self) changed(others []metric.Count) []metric.Count {
	return slices.DeleteFunc(append(s.tally.All(), others...), func(c metric.Count) bool {
		old, known := s.written[c.Name+c.Tags]
		return known && old == c.Value
	})
}

func (s *self) wrote(counts []metric.Count) {
	for _, c := range counts {
		s.written[c.Name+c.Tags] = c.Value
	}
}

// samples returns our own samples once a minute.
func (s *self) samples(daemon string, now time.Time) []metric.Sample {
	if age := now.Sub(s.said); age >= 0 && age < selfEvery {
		return nil
	}
	s.said = now
	at := now.UnixMilli()
	all := s.tally.Samples(at)
	use, _ := hostfs.Self() // what could not be read is -1 and left out; the next minute tries again
	tags := metric.Tags("daemon", daemon)
	all = append(all, metric.Sample{Name: "process.cpu_seconds_total", Tags: tags, TimeMs: at, Value: metric.Round(use.CPUSeconds)})
	if use.ResidentBytes >= 0 {
		all = append(all, metric.Sample{Name: "process.resident_memory_bytes", Tags: tags, TimeMs: at, Value: float64(use.ResidentBytes)})
	}
	if use.WrittenBytes >= 0 {
		all = append(all, metric.Sample{Name: "process.written_bytes_total", Tags: tags, TimeMs: at, Value: float64(use.WrittenBytes)})
	}
	return all
}

// detail is what the status row "shipper" says beyond the columns.
type detail struct {
	// Outcome is that of the last request, or idle (nothing was pending) or
	// disabled (remote.enabled is false).
	Outcome       string `json:"outcome"`
	HTTPStatus    int    `json:"http_status,omitempty"`
	Misconfigured string `json:"misconfigured,omitempty"` // what is wrong, while it is
	Endpoint      string `json:"endpoint"`                // host and port
	ChunkSamples  int    `json:"chunk_samples"`           // the limit at present
	RetryAtMs     int64  `json:"retry_at_ms,omitempty"`   // the next request; 0: with the next round
	BudgetSpent   bool   `json:"budget_spent,omitempty"`  // remote.max_bytes_per_day
	BytesToday    int64  `json:"bytes_today,omitempty"`
	Busy          bool   `json:"busy,omitempty"`            // the links carry more than remote.busy_kbps
	Plaintext     bool   `json:"plaintext_token,omitempty"` // credentials go over http to another machine

	Settling settling `json:"settling"` // what a restarted server is sent again
}

func (d detail) text() string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("BUG: a detail that is not JSON: %v", err))
	}
	return string(b)
}

// part makes a status row's keeper and takes over what an earlier run left.
func part(d store.Daemon, component string, interval time.Duration, old []store.Status) *store.Part {
	p := store.NewPart(d, component, interval)
	for _, s := range old {
		if s.Component == component {
			p.Restore(s)
		}
	}
	return p
}
