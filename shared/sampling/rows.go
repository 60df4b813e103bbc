package sampling

import (
	"context"

	"github.com/taniwha3/thugshells/shared/status"
)

// rows returns the status rows to write: the daemon's, and those of the collectors of
// which more has changed than the time and number of their samples. These two are in
// the daemon's row, because each row costs a page.
func (r *Sampler) rows(now status.Moment) []status.Row {
	if opened := r.db.Opening(); opened != r.opened {
		// Another file was put in place, which may not have the rows.
		r.opened = opened
		for _, a := range r.all {
			a.written = status.Row{}
		}
	}
	detail := status.Collector{Readings: map[string][2]int64{}}
	var changed []status.Row
	for _, a := range r.all {
		row := a.component.Row()
		if row.HeartbeatMs == 0 {
			continue // it did not run yet
		}
		if row.FailingSinceMs == 0 {
			detail.Readings[a.Name] = [2]int64{now.Boot.Milliseconds() - row.HeartbeatBootMs, row.Succeeded}
		}
		if !sameButTime(row, a.written) {
			changed = append(changed, row)
		}
	}
	r.loop.SetDetail(detail)
	return append([]status.Row{r.loop.Row()}, changed...)
}

// sameButTime says whether a successful collector's row differs only in what the
// daemon's row has.
func sameButTime(row, written status.Row) bool {
	if row.FailingSinceMs != 0 {
		return row == written
	}
	written.HeartbeatMs, written.HeartbeatBootMs = row.HeartbeatMs, row.HeartbeatBootMs
	written.SuccessMs, written.SuccessBootMs = row.SuccessMs, row.SuccessBootMs
	written.Succeeded = row.Succeeded
	return row == written
}

// wrote remembers the rows that are in the database.
func (r *Sampler) wrote(rows []status.Row) {
	for _, row := range rows {
		for _, a := range r.all {
			if row.Component == status.ReadingRow(a.Name) {
				a.written = row
			}
		}
	}
}

// skew is the shipper's status row about the server's clock.
func (r *Sampler) skew(ctx context.Context, ready error) status.Row {
	none := status.Row{SuccessBootMs: -1}
	if ready != nil {
		return none
	}
	row, _, err := r.db.StatusOf(ctx, status.SkewRow)
	if err != nil {
		return none // then storing fails as well, with this error
	}
	return row
}
