package ship

import (
	"bytes"
	"fmt"
	"time"

	"compress/gzip"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

const (
	// maxChunkBytes bounds the body of one request, as it goes over the wire.
	maxChunkBytes = 256 << 10
	// maxHeads bounds the memory of line heads; a board has some hundreds.
	maxHeads = 10000
	// gzipLevel was measured on a board's samples, see BenchmarkEncode.
	gzipLevel = 6
)

// A chunk is the body of one request. It is good until the next pack.
type chunk struct {
	rows  []store.Row // in the order of the body
	lines []int       // how many of rows each line holds
	body  []byte
	bad   []store.Rejection // rows that the server would drop without a word
}

// samplesOf returns the rows of one line.
func (c *chunk) samplesOf(line int) []store.Row {
	start := 0
	for _, n := range c.lines[:line] {
		start += n
	}
	return c.rows[start : start+c.lines[line]]
}

// An encoder turns rows into bodies. It keeps its buffers, and the checked start
// of each series' lines, from one chunk to the next.
type encoder struct {
	compress  bool
	retention time.Duration // how far back the server keeps samples, 0: no limit

	heads  map[int64]head // by series id
	counts []int32        // by series id: rows of the chunk, then where they go
	values []float64
	times  []int64
	plain  []byte
	packed bytes.Buffer
	gz     *gzip.Writer
	chunk  chunk
}

type head struct {
	text []byte
	err  error
}

// pack encodes rows, which are in the order of their times or the reverse, into
// one chunk of at most maxBytes. Rows that do not fit are returned as rest, the
// last ones first to go; a single row always fits. Rows that the server would
// drop are in chunk.bad.
func (e *encoder) pack(rows []store.Row, maxBytes int, nowMs int64) (c *chunk, rest []store.Row, err error) {
	for n := len(rows); ; n /= 2 {
		if err := e.encode(rows[:n], nowMs); err != nil {
			return nil, nil, err
		}
		if len(e.chunk.body) <= maxBytes || n <= 1 {
			return &e.chunk, rows[n:], nil
		}
	}
}

func (e *encoder) encode(rows []store.Row, nowMs int64) error {
	c := &e.chunk
	c.rows, c.lines, c.bad, c.body = c.rows[:0], c.lines[:0], c.bad[:0], nil
	e.sort(rows, nowMs)
	e.plain = e.plain[:0]
	for start := 0; start < len(c.rows); {
		series := c.rows[start].Series
		e.values, e.times = e.values[:0], e.times[:0]
		end := start
		for ; end < len(c.rows) && c.rows[end].Series.ID == series.ID; end++ {
			e.values, e.times = append(e.values, c.rows[end].Value), append(e.times, c.rows[end].TimeMs)
		}
		e.plain = vmjson.Append(e.plain, e.heads[series.ID].text, e.values, e.times)
		c.lines = append(c.lines, end-start)
		start = end
	}
	if !e.compress || len(c.rows) == 0 {
		c.body = e.plain
		return nil
	}
	e.packed.Reset()
	if e.gz == nil {
		var err error
		if e.gz, err = gzip.NewWriterLevel(&e.packed, gzipLevel); err != nil {
			return fmt.Errorf("start gzip: %w", err)
		}
	}
	e.gz.Reset(&e.packed)
	if _, err := e.gz.Write(e.plain); err != nil {
		return fmt.Errorf("compress a chunk: %w", err)
	}
	if err := e.gz.Close(); err != nil {
		return fmt.Errorf("compress a chunk: %w", err)
	}
	c.body = e.packed.Bytes()
	return nil
}

// sort puts the rows that can be sent into c.rows, series by series in the order
// of their ids (series of one collector are neighbours there and share their
// timestamps, which gzip likes), the oldest first.
func (e *encoder) sort(rows []store.Row, nowMs int64) {
	c := &e.chunk
	most := int64(0)
	for _, r := range rows {
		most = max(most, r.Series.ID)
	}
	if int64(len(e.counts)) < most+2 {
		e.counts = make([]int32, most+2)
	}
	clear(e.counts)
	good := 0
	for _, r := range rows {
		if err := e.check(r, nowMs); err != nil {
			c.bad = append(c.bad, store.Rejection{Row: r, Reason: err.Error()})
			continue
		}
		e.counts[r.Series.ID+1]++
		good++
	}
	for i := 1; i < len(e.counts); i++ {
		e.counts[i] += e.counts[i-1]
	}
	if cap(c.rows) < good {
		c.rows = make([]store.Row, good)
	}
	c.rows = c.rows[:good]
	newestFirst := len(rows) > 1 && rows[0].TimeMs > rows[len(rows)-1].TimeMs
	for i := range rows {
		r := rows[i]
		if newestFirst {
			r = rows[len(rows)-1-i]
		}
		if len(c.bad) > 0 && e.check(r, nowMs) != nil {
			continue
		}
		c.rows[e.counts[r.Series.ID]] = r
		e.counts[r.Series.ID]++
	}
}

// check says why the server would not keep a row.
func (e *encoder) check(r store.Row, nowMs int64) error {
	h, ok := e.heads[r.Series.ID]
	if !ok {
		if len(e.heads) >= maxHeads || e.heads == nil {
			e.heads = map[int64]head{}
		}
		h.text, h.err = vmjson.Head(metric.WireName(r.Series.Name), r.Series.Device, r.Series.Tags)
		e.heads[r.Series.ID] = h
	}
	if h.err != nil {
		return h.err
	}
	return vmjson.CheckSample(r.Value, r.TimeMs, nowMs, e.retention)
}
