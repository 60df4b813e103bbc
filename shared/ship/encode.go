package ship

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

const (
	// maxChunkBytes bounds the body of one request, as it goes over the wire.
	maxChunkBytes = 256 << 10
	// maxHeads bounds the memory of line heads; a board has some hundreds.
	maxHeads = 10000
	// The levels of gzip were measured on a board's samples: 9 makes the small bodies
	// of rounds 3 % smaller than 6 does, and those of a drain 1 % for a third more
	// processor time, see BenchmarkEncode.
	roundLevel, drainLevel = 9, 6
	// roundBytes is the longest body, before compression, that gets roundLevel.
	roundBytes = 32 << 10
	// timeUnknown in place of the server's time means that it is not known, so that no
	// row is too old or too new.
	timeUnknown = 0
)

// A chunk is the body of one request, and its buffers.
type chunk struct {
	in    []store.Row // where the rows are read into
	sent  []store.Row // the rows of the body, in the order in which they were read
	rows  []store.Row // the same, in the order of the body
	lines []int       // how many of rows each line holds
	body  []byte
	bad   []store.Rejection // rows that the server would drop without an error
	last  bool              // its lane has no rows after it
	held  int               // rows that stay pending until their times can be judged

	plain  []byte
	packed bytes.Buffer
}

// samplesOf returns the rows of one line.
func (c *chunk) samplesOf(line int) []store.Row {
	start := 0
	for _, n := range c.lines[:line] {
		start += n
	}
	return c.rows[start : start+c.lines[line]]
}

// An encoder turns rows into bodies. It keeps the checked start of each series'
// lines.
type encoder struct {
	compress bool
	site     string // label of every line; empty: none

	heads  map[int64]head // by series id
	places []int32        // by series id: where its next row goes in the body
	values []float64
	times  []int64
	gz     *gzip.Writer
	level  int // of gz
}

type head struct {
	of   *store.Series // another database has other ids
	text []byte
	err  error
}

// pack encodes rows, which are in the order of their times or the reverse, into c,
// whose body has at most maxBytes. The last rows, which do not fit, are returned as
// rest; a single row always fits. Rows that the server would drop are in c.bad, and
// rows whose times cannot be judged yet are left out. C is valid until the next pack
// into it, and only as long as rows is.
func (e *encoder) pack(c *chunk, rows []store.Row, maxBytes int, rule timeRule) (rest []store.Row, err error) {
	for n := len(rows); ; n /= 2 {
		if err := e.encode(c, rows[:n], rule); err != nil {
			return nil, err
		}
		if len(c.body) <= maxBytes || n <= 1 {
			return rows[n:], nil
		}
	}
}

func (e *encoder) encode(c *chunk, rows []store.Row, rule timeRule) error {
	c.lines, c.body, c.plain = c.lines[:0], nil, c.plain[:0]
	e.sort(c, rows, rule)
	for start := 0; start < len(c.rows); {
		series := c.rows[start].Series
		e.values, e.times = e.values[:0], e.times[:0]
		end := start
		for ; end < len(c.rows) && c.rows[end].Series.ID == series.ID; end++ {
			e.values, e.times = append(e.values, c.rows[end].Value), append(e.times, c.rows[end].TimeMs)
		}
		c.plain = vmjson.Append(c.plain, e.heads[series.ID].text, e.values, e.times)
		c.lines = append(c.lines, end-start)
		start = end
	}
	if !e.compress || len(c.rows) == 0 {
		c.body = c.plain
		return nil
	}
	c.packed.Reset()
	level := drainLevel
	if len(c.plain) <= roundBytes {
		level = roundLevel
	}
	if e.gz == nil || e.level != level { // one writer, as each takes 800 KB
		var err error
		if e.gz, err = gzip.NewWriterLevel(&c.packed, level); err != nil {
			return fmt.Errorf("start gzip: %w", err)
		}
		e.level = level
	}
	e.gz.Reset(&c.packed)
	if _, err := e.gz.Write(c.plain); err != nil {
		return fmt.Errorf("compress a chunk: %w", err)
	}
	// Without its end the server may accept a part of it, or nothing, and answer 204.
	if err := e.gz.Close(); err != nil {
		return fmt.Errorf("compress a chunk: %w", err)
	}
	c.body = c.packed.Bytes()
	return nil
}

// sort puts the rows that can be sent into c.rows, series by series in the order
// of their ids (series of one collector are neighbours there and share their
// timestamps, which gzip likes), the oldest first.
func (e *encoder) sort(c *chunk, rows []store.Row, rule timeRule) {
	c.sent, c.bad, c.held = rows, c.bad[:0], 0
	most := int64(0)
	for i, r := range rows {
		most = max(most, r.Series.ID)
		ruling, err := e.check(r, rule)
		if ruling != send && len(c.bad)+c.held == 0 {
			c.sent = slices.Clone(rows[:i])
		}
		switch {
		case ruling == hold:
			c.held++
		case ruling == refuse:
			c.bad = append(c.bad, store.Rejection{Row: r, Reason: err.Error()})
		case len(c.bad)+c.held > 0:
			c.sent = append(c.sent, r)
		}
	}
	if int64(len(e.places)) < most+2 {
		e.places = make([]int32, most+2)
	}
	clear(e.places)
	for _, r := range c.sent {
		e.places[r.Series.ID+1]++
	}
	for i := 1; i < len(e.places); i++ {
		e.places[i] += e.places[i-1]
	}
	c.rows = slices.Grow(c.rows[:0], len(c.sent))[:len(c.sent)]
	newestFirst := len(c.sent) > 1 && c.sent[0].TimeMs > c.sent[len(c.sent)-1].TimeMs
	for i := range c.sent {
		if newestFirst {
			i = len(c.sent) - 1 - i
		}
		r := c.sent[i]
		c.rows[e.places[r.Series.ID]] = r
		e.places[r.Series.ID]++
	}
}

// siteLabel is the label with device.site, which every line has.
func siteLabel(site string) vmjson.Label { return vmjson.Label{Name: "site", Value: site} }

// check says whether a row can be sent, and if the server would drop it, why.
func (e *encoder) check(r store.Row, rule timeRule) (ruling, error) {
	h, ok := e.heads[r.Series.ID]
	if !ok || h.of != r.Series {
		if len(e.heads) >= maxHeads || e.heads == nil {
			e.heads = map[int64]head{}
		}
		h.of = r.Series
		h.text, h.err = vmjson.Head(metric.WireName(r.Series.Name), r.Series.Device, r.Series.Tags, siteLabel(e.site))
		e.heads[r.Series.ID] = h
	}
	if h.err != nil {
		return refuse, h.err
	}
	if err := vmjson.CheckSample(r.Value, r.TimeMs, r.TimeMs, 0); err != nil {
		return refuse, err
	}
	return rule.ruleOn(r.TimeMs)
}
