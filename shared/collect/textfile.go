package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/promtext"
)

const (
	maxTextSeries = 200       // of all files together
	maxTextBytes  = 256 << 10 // of all files
)

// textfileCollector reads the files that the operator's own scripts write into a
// directory, as node_exporter does.
type textfileCollector struct {
	dir   string
	files choice
	seen  seenSeries
}

func newTextfile(cfg config.MetricConfig) *textfileCollector {
	return &textfileCollector{dir: cfg.Directory, files: choice{most: maxOfKind}, seen: newSeenSeries()}
}

// Collect returns the samples of each file *.prom, with the present time, and
// textfile.mtime_seconds, the time at which the file was written. A file is accepted
// completely, or rejected as one failed reading.
func (c *textfileCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	var found []string
	for _, n := range r.list(c.dir) {
		if strings.HasSuffix(n, ".prom") {
			found = append(found, n)
		}
	}
	taken := texts{from: map[string]string{}, bytes: maxTextBytes}
	for _, n := range c.files.of(found) {
		if err := c.file(&r, &taken, n); err != nil {
			r.fault(fmt.Errorf("read %s: %w; file skipped", filepath.Join(c.dir, n), err))
		}
	}
	r.dropped("textfile", &c.files)
	return r.done()
}

// texts is the samples of a round's files so far.
type texts struct {
	from  map[string]string // the file of each series
	bytes int               // that others may have
}

func (c *textfileCollector) file(r *reading, taken *texts, file string) error {
	path := filepath.Join(c.dir, file)
	info, err := os.Stat(path)
	if absent(err) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Size() > int64(taken.bytes) {
		return fmt.Errorf("%d bytes; all files together may have %d", info.Size(), maxTextBytes)
	}
	label, err := name([]byte(file))
	if err != nil {
		return err
	}
	data, err := hostfs.ReadFile(path)
	switch {
	case absent(err):
		return nil
	case err != nil:
		return err
	case len(data) > taken.bytes:
		return fmt.Errorf("%d bytes; all files together may have %d", len(data), maxTextBytes)
	}
	parsed, err := promtext.Parse(data, maxTextSeries-len(taken.from))
	if err != nil {
		return err
	}
	tags, series := make([]string, len(parsed)), make([]string, len(parsed))
	for i, s := range parsed {
		if metric.Reserved(s.Name) {
			return &promtext.Error{Line: s.Line, Reason: s.Name + " is the name of a metric that this program has itself"}
		}
		tags[i] = tagsOf(s.Labels)
		series[i] = s.Name + tags[i]
		if other, twice := taken.from[series[i]]; twice {
			return &promtext.Error{Line: s.Line, Reason: fmt.Sprintf("%s with these labels is in %s already", s.Name, other)}
		}
	}
	if n := c.seen.room(series, r.timeMs); n < len(series) {
		return &promtext.Error{
			Line:   parsed[n].Line,
			Reason: fmt.Sprintf("the files have had %d different series within a day; a label must not have a new value each time", maxTextSeen),
		}
	}
	c.seen.take(series, r.timeMs)
	for i, s := range parsed {
		taken.from[series[i]] = file
		r.add(s.Name, tags[i], s.Value)
	}
	taken.bytes -= len(data)
	r.add("textfile.mtime_seconds", metric.Tags("file", label), float64(info.ModTime().UnixMilli())/1000)
	return nil
}

// tagsOf makes tags of labels that promtext has checked.
func tagsOf(labels []promtext.Label) string {
	pairs := make([]string, 0, 2*len(labels))
	for _, l := range labels {
		pairs = append(pairs, l.Name, l.Value)
	}
	return metric.Tags(pairs...)
}
