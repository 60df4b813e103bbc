package ship

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// verifySlice is the number of rows that are compared at a time.
	verifySlice = 20000
	// VisibleAfter is how long VictoriaMetrics may answer that a series has no samples
	// although it accepted some: it caches an empty answer for 10 s.
	VisibleAfter = 12 * time.Second
)

// A Verification counts the differences between the samples that are marked as
// delivered and the samples that the server has.
type Verification struct {
	Delivered int // marked so in the database
	Missing   int // of those, not at the server
	Doubled   int // at the server more than once
	Changed   int // at the server with another value
	Repaired  int // missing ones that were sent again
}

func (v Verification) String() string {
	return fmt.Sprintf("delivered %d, missing %d, doubled %d, changed %d, sent again %d", v.Delivered, v.Missing,
		v.Doubled, v.Changed, v.Repaired)
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

// Verify compares the samples since a time ago that are marked as delivered with
// the server's /api/v1/export, which is beside the /api/v1/import of remote.url.
// With repair the missing ones are sent again and compared again.
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
			// They may not be visible yet.
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

// again compares until no sample is missing, or until the missing samples would have
// to be visible at the server.
func (s *Shipper) again(ctx context.Context, export url.URL, rows []store.Row, visible time.Duration) (
	v Verification, missing []store.Row, err error,
) {
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

// repair sends rows again that the server lost. They stay marked as delivered.
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
				return fmt.Errorf("the server rejects samples that it accepted before: HTTP %d%s", v.refused.status,
					quoted(v.refused.words))
			}
		}
		rows = rows[n-len(rest):]
	}
	return nil
}

// compare looks every row up at the server.
func (s *Shipper) compare(ctx context.Context, export url.URL, rows []store.Row) (
	v Verification, missing []store.Row, err error,
) {
	x, err := newExpected(rows, s.enc.site)
	if err != nil {
		return v, nil, err
	}
	export.RawQuery = x.query(rows[0].TimeMs, rows[len(rows)-1].TimeMs)
	if err := s.client.read(ctx, &export, x.read); err != nil {
		return v, nil, fmt.Errorf("read the export of %s: %w", export.Host, err)
	}
	for i := range rows {
		found := x.found(&rows[i])
		v.Delivered++
		switch {
		case found.times == 0:
			v.Missing++
			missing = append(missing, rows[i])
		case found.times > 1:
			v.Doubled++
		case metric.Round(found.value) != metric.Round(rows[i].Value):
			v.Changed++
		}
	}
	return v, missing, nil
}
