package collect

import (
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// infoCollector reads the board's model and its software versions.
type infoCollector struct {
	roots   hostfs.Roots
	version string
}

func newInfo(roots hostfs.Roots, version string) *infoCollector {
	return &infoCollector{roots, version}
}

// Collect returns board.info, whose value is 1. Its tags are the model, if there is a
// device tree, the kernel, and the version of metrics-collector.
func (c *infoCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	pairs := []string{"version", c.version}
	for key, read := range map[string]func() (string, error){"model": c.roots.BoardModel, "kernel": c.roots.KernelRelease} {
		value, err := read()
		switch {
		case err == nil && value != "":
			runes := []rune(value)
			pairs = append(pairs, key, string(runes[:min(len(runes), maxName)]))
		case err != nil && !absent(err):
			r.fault(err)
		}
	}
	r.add("board.info", metric.Tags(pairs...), 1)
	return r.done()
}
