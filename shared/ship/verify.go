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
	// verifySlice is how many rows are compared at a time.
	verifySlice = 20000
	// VisibleAfter is how long VictoriaMetrics may go on answering that a series
	// has no samples after it got some: it remembers an empty answer for 10 s.
	VisibleAfter = 12 * time.Second
	// exportLine and exportSamples bound what is read of an export.
	exportLine    = 16 << 20
	exportSamples = 10_000_000
)

// A Verification is what came of comparing the delivered samples with what the
// server has of them.
type Verification struct {
	Delivered int // marked so in the database
	Missing   int // of those, not at the server
	Doubled   int // at the server more than once
	Changed   int // at the server with another value
	Repaired  int // missing ones that were sent again
}

func (v Verification) String() string {
	return fmt.Sprintf("delivered %d, missing %d, doubled %d, changed %d, sent again %d", v.Delivered, v.Missing, v.Doubled, v.Changed, v.Repaired)
}

// Good says that the server has every delivered sample, once.
func (v Verification) Good() bool { return v.Missing+v.Doubled+v.Changed == 0 }

func (v *Verification) add(o Verification) {
	v.Delivered += o.Delivered
	v.Missing += o.Missing
	v.Doubled += o.Doubled
	v.Changed += o.Changed
	v.Repaired += o.Repaired
}

// Verify compares the samples of the last while that are marked as delivered
// with the server's /api/v1/export, which stands beside the /api/v1/import of
// remote.url. With repair the missing ones are sent again and compared again.
// Visible is how long an accepted sample may be missing from the export: for
// VictoriaMetrics VisibleAfter.
func (s *Shipper) Verify(ctx context.Context, since time.Duration, repair bool, visible time.Duration) (Verification, error) {
	var all Verification
	base, ok := strings.CutSuffix(s.client.url.Path, "/api/v1/import")
	if !ok {
		return all, errors.New("remote.url does not end in /api/v1/import, so the address of /api/v1/export is unknown")
	}
	if strings.HasPrefix(base, "/insert/") {
		return all, errors.New("remote.url is a cluster's vminsert, which has no /api/v1/export; compare at its vmselect")
	}
	export := *s.client.url
	export.Path, export.RawPath = base+"/api/v1/export", ""

	at := store.CursorAt(time.Now().Add(-since).UnixMilli())
	until := time.Now().UnixMilli()
	for {
		rows, err := s.db.Delivered(ctx, nil, &at, until, verifySlice)
		if err != nil || len(rows) == 0 {
			return all, err
		}
		one, missing, err := s.compare(ctx, export, rows)
		if err != nil {
			return all, err
		}
		if len(missing) > 0 {
			// They may only not be visible yet.
			if one, missing, err = s.again(ctx, export, rows, visible); err != nil {
				return all, err
			}
		}
		if len(missing) > 0 && repair {
			if err := s.repair(ctx, missing); err != nil {
				return all, err
			}
			repaired := len(missing)
			if one, _, err = s.again(ctx, export, rows, visible); err != nil {
				return all, err
			}
			one.Repaired = repaired
		}
		all.add(one)
	}
}

// again compares until nothing is missing, or until what is missing cannot be on
// its way any more.
func (s *Shipper) again(ctx context.Context, export url.URL, rows []store.Row, visible time.Duration) (v Verification, missing []store.Row, err error) {
	for begun := time.Now(); ; {
		select {
		case <-ctx.Done():
			return v, nil, ctx.Err()
		case <-time.After(visible / 6):
		}
		v, missing, err = s.compare(ctx, export, rows)
		if err != nil || len(missing) == 0 || time.Since(begun) > visible {
			return v, missing, err
		}
	}
}

// repair sends rows that the server lost. They stay marked as delivered.
func (s *Shipper) repair(ctx context.Context, rows []store.Row) error {
	b := newRound(time.Time{})
	for len(rows) > 0 {
		n := min(len(rows), s.cfg.BatchSize)
		rest, err := s.enc.pack(&s.chunks.one, rows[:n], maxChunkBytes, timeRule{})
		if err != nil {
			return err
		}
		if len(s.chunks.one.rows) > 0 {
			v := s.wait(ctx, b, s.start(ctx, b, &s.chunks.one))
			if v.err != nil {
				return v.err
			}
			if v.refused != nil {
				return fmt.Errorf("the server rejects samples that it accepted before: HTTP %d%s", v.refused.status, quoted(v.refused.words))
			}
		}
		rows = rows[n-len(rest):]
	}
	return nil
}

// compare looks every row up at the server.
func (s *Shipper) compare(ctx context.Context, export url.URL, rows []store.Row) (v Verification, missing []store.Row, err error) {
	type sample struct {
		row   *store.Row
		times int
		value float64
	}
	want := map[string]map[int64]*sample{} // by series as text, then time
	texts := map[int64]string{}
	devices := map[string]bool{}
	from, to := rows[0].TimeMs, rows[len(rows)-1].TimeMs
	for i := range rows {
		r := &rows[i]
		text, ok := texts[r.Series.ID]
		if !ok {
			if text, err = seriesText(r.Series, s.enc.site); err != nil {
				return v, nil, fmt.Errorf("series %s%s: %w", r.Series.Name, r.Series.Tags, err)
			}
			texts[r.Series.ID] = text
			devices[r.Series.Device] = true
		}
		if want[text] == nil {
			want[text] = map[int64]*sample{}
		}
		want[text][r.TimeMs] = &sample{row: r}
	}
	query := url.Values{"start": {seconds(from)}, "end": {seconds(to)}}
	for _, device := range slices.Sorted(maps.Keys(devices)) {
		query.Add("match[]", `{device_id=`+strconv.Quote(device)+`}`)
	}
	export.RawQuery = query.Encode()
	err = s.client.read(ctx, &export, func(body io.Reader) error {
		return vmjson.Read(body, vmjson.Limits{LineBytes: exportLine, Samples: exportSamples}, func(number int, line vmjson.Line, refused error) error {
			if refused != nil {
				return fmt.Errorf("line %d of the export: %w", number, refused)
			}
			of := want[lineText(line.Name, line.Labels)]
			for i, at := range line.Timestamps {
				if one := of[at]; one != nil {
					one.times++
					one.value = line.Values[i]
				}
			}
			return nil
		})
	})
	if err != nil {
		return v, nil, fmt.Errorf("read the export of %s: %w", export.Host, err)
	}
	for i := range rows {
		one := want[texts[rows[i].Series.ID]][rows[i].TimeMs]
		v.Delivered++
		switch {
		case one.times == 0:
			v.Missing++
			missing = append(missing, rows[i])
		case one.times > 1:
			v.Doubled++
		case metric.Round(one.value) != metric.Round(rows[i].Value):
			v.Changed++
		}
	}
	return v, missing, nil
}

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

// read gets a long answer and gives its body to use.
func (c *client) read(ctx context.Context, from *url.URL, use func(io.Reader) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(c.timeout, func() { cancel(fmt.Errorf("nothing came for %s", c.timeout)) })
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

// A watched reader tells of every read.
type watched struct {
	io.Reader
	tell func()
}

func (w watched) Read(p []byte) (int, error) {
	w.tell()
	return w.Reader.Read(p)
}
