package ship

import (
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// Requests that look for samples that the server rejects may use searchShare of the
	// bytes of the day's other uploads, and at least searchBytes.
	searchShare = 0.1
	searchBytes = 100e3
	// The names of the counters that keep the budget. They are not metrics.
	searchDay      = "search.day"
	searchSpent    = "search.bytes"
	searchUploads  = "search.uploads"
	searchUploaded = "search.uploaded"
)

// A searchBudget bounds the bytes a day that are spent on looking for bad samples. A
// server that accepts single samples and no chunks would cost any amount of bytes.
type searchBudget struct {
	day     float64 // budget.day
	spent   float64 // bytes of this day's requests that looked for bad samples
	uploads float64 // all other bytes of this day
	before  float64 // all other bytes of the day before
}

// charge adds bytes of one day.
func (b *searchBudget) charge(day float64, bytes int64, searching bool) {
	if day != b.day {
		*b = searchBudget{day: day, before: b.uploads}
	}
	if searching {
		b.spent += float64(bytes)
	} else {
		b.uploads += float64(bytes)
	}
}

// isSpent says whether the day's bytes are used up.
func (b *searchBudget) isSpent() bool {
	return b.spent >= max(searchBytes, searchShare*max(b.before, b.uploads))
}

// counts are the counters that are kept over a restart, on a day with a search.
func (b *searchBudget) counts() []metric.Count {
	if b.spent == 0 {
		return nil
	}
	return []metric.Count{
		{Name: searchDay, Value: b.day},
		{Name: searchSpent, Value: b.spent},
		{Name: searchUploads, Value: b.uploads},
		{Name: searchUploaded, Value: b.before},
	}
}

func (b *searchBudget) restore(counts []metric.Count) {
	for _, c := range counts {
		switch c.Name {
		case searchDay:
			b.day = c.Value
		case searchSpent:
			b.spent = c.Value
		case searchUploads:
			b.uploads = c.Value
		case searchUploaded:
			b.before = c.Value
		}
	}
}

// adjustChunk sets the size of the next chunk after an answer: it follows the number
// of samples that were accepted, and is halved when a body was sent and nothing of it
// was accepted.
func (s *Shipper) adjustChunk(r *request, v result) {
	c := &s.chunks
	sent, accepted := len(r.c.sent), len(v.accepted)
	switch {
	case v.outcome == Delivered && accepted == sent:
		c.limit = min(c.limit*2, s.cfg.BatchSize)
	case v.outcome == Delivered && v.refused == nil:
		c.limit = max(1, accepted)
	case v.outcome == Delivered || !r.a.bodySent:
	default:
		c.limit = max(1, c.limit/2)
	}
}

// judgeProgress ends the longer waits after failures if an answer accepted enough. To
// accept little is a fault, as if the server had not answered.
func (s *Shipper) judgeProgress(r *request, v result) error {
	sent, accepted := len(r.c.sent), len(v.accepted)
	enough := s.cfg.ChunkSize / 2
	little := 2*accepted < sent || v.refused == nil && accepted < min(sent, enough)
	if little && sent > 1 {
		what := fmt.Sprintf("%s accepted %d of %d samples", s.client.url.Host, accepted, sent)
		s.pacing.littleTaken = true
		s.report.detail.LittleTaken = what
		return &fault{outcome: Later, status: r.a.status, wait: retryAfter(r.a.header), err: errors.New(what)}
	}
	// While the server accepts little, a small chunk that it accepts completely is no
	// reason to send faster.
	if accepted == sent && (accepted >= enough || r.c.last) {
		s.pacing.littleTaken = false
		s.report.detail.LittleTaken = ""
	}
	if !s.pacing.littleTaken && sent > 0 {
		s.pacing.failed, s.pacing.notBefore = 0, time.Time{}
	}
	return nil
}
