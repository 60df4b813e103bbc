package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

const (
	// exportLine and exportSamples bound what is read of an export.
	exportLine    = 16 << 20
	exportSamples = 10_000_000
)

// expected is rows to be found in an export, and what was found of them.
type expected struct {
	series  map[string]map[int64]*found // by the text of the series, then by time
	texts   map[int64]string            // of series, by their ids
	devices map[string]bool
}

type found struct {
	times int
	value float64
}

func newExpected(rows []store.Row, site string) (*expected, error) {
	x := &expected{series: map[string]map[int64]*found{}, texts: map[int64]string{}, devices: map[string]bool{}}
	for i := range rows {
		r := &rows[i]
		text, ok := x.texts[r.Series.ID]
		if !ok {
			var err error
			if text, err = seriesText(r.Series, site); err != nil {
				return nil, fmt.Errorf("series %s%s: %w", r.Series.Name, r.Series.Tags, err)
			}
			x.texts[r.Series.ID] = text
			x.devices[r.Series.Device] = true
		}
		if x.series[text] == nil {
			x.series[text] = map[int64]*found{}
		}
		x.series[text][r.TimeMs] = &found{}
	}
	return x, nil
}

// query asks for all samples of the rows' devices in the time from one row to
// another.
func (x *expected) query(fromMs, toMs int64) string {
	query := url.Values{"start": {seconds(fromMs)}, "end": {seconds(toMs)}}
	for _, device := range slices.Sorted(maps.Keys(x.devices)) {
		query.Add("match[]", `{device_id=`+strconv.Quote(device)+`}`)
	}
	return query.Encode()
}

// read counts the samples of an export that were expected.
func (x *expected) read(body io.Reader) error {
	return vmjson.Read(body, vmjson.Limits{LineBytes: exportLine, Samples: exportSamples},
		func(number int, line vmjson.Line, refused error) error {
			if refused != nil {
				return fmt.Errorf("line %d of the export: %w", number, refused)
			}
			of := x.series[lineText(line.Name, line.Labels)]
			for i, at := range line.Timestamps {
				if one := of[at]; one != nil {
					one.times++
					one.value = line.Values[i]
				}
			}
			return nil
		})
}

func (x *expected) found(r *store.Row) *found { return x.series[x.texts[r.Series.ID]][r.TimeMs] }

// seriesText names a series as the server knows it.
func seriesText(s *store.Series, site string) (text string, err error) {
	head, err := vmjson.Head(metric.WireName(s.Name), s.Device, s.Tags, siteLabel(site))
	if err != nil {
		return "", err
	}
	body := vmjson.Append(nil, head, []float64{0}, []int64{1})
	err = vmjson.Read(strings.NewReader(string(body)), vmjson.Limits{}, func(_ int, line vmjson.Line, refused error) error {
		text = lineText(line.Name, line.Labels)
		return refused
	})
	return text, err
}

func lineText(name string, labels []vmjson.Label) string {
	labels = slices.Clone(labels)
	slices.SortFunc(labels, func(a, b vmjson.Label) int { return strings.Compare(a.Name, b.Name) })
	return fmt.Sprintf("%q %q", name, labels)
}

func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }

// read requests a page of any length and passes its body to use.
func (c *client) read(ctx context.Context, from *url.URL, use func(io.Reader) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(c.timeout, func() { cancel(fmt.Errorf("no data came for %s", c.timeout)) })
	defer stalled.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return err
	}
	req.Header = http.Header{"User-Agent": {c.userAgent}}
	authorization, err := c.creds.header()
	if err != nil {
		return err
	}
	if authorization != "" {
		req.Header["Authorization"] = []string{authorization}
	}
	c.link.limit(time.Now().Add(c.timeout + deadlineAfter))
	defer c.link.limit(time.Time{})
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return cmp.Or(context.Cause(ctx), c.explain(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errSwitched
	}
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		return errors.Join(fmt.Errorf("HTTP %d%s", resp.StatusCode, quoted(c.creds.excerpt(body))), err)
	}
	if err := use(watched{resp.Body, func() {
		stalled.Reset(c.timeout)
		c.link.limit(time.Now().Add(c.timeout + deadlineAfter))
	}}); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// A watched reader calls onRead before each read.
type watched struct {
	io.Reader
	onRead func()
}

func (w watched) Read(p []byte) (int, error) {
	w.onRead()
	return w.Reader.Read(p)
}
