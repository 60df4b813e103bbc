package sampling

import "github.com/taniwha3/thugshells/shared/status"

// rows returns the status rows to write: the daemon's, which is due with every
// round, and those of collectors of which more changed than when they were read
// last and how many samples that made. That is in the daemon's: a page is written
// for each row.
func (r *Sampler) rows(now status.Moment) []status.Row {
	if opened := r.db.Opening(); opened != r.opened {
		// Another file was put in place, in which there may be none.
		r.opened = opened
		for _, a := range r.all {
			a.written = status.Row{}
		}
	}
	detail := status.Collector{Readings: map[string][2]int64{}}
	var changed []status.Row
	for _, a := range r.all {
		row := a.part.Row()
		if row.HeartbeatMs == 0 {
			continue // was not asked yet
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

// sameButTime says whether the daemon's row tells what differs, for a reading
// that succeeded.
func sameButTime(row, written status.Row) bool {
	if row.FailingSinceMs != 0 {
		return row == written
	}
	written.HeartbeatMs, written.HeartbeatBootMs = row.HeartbeatMs, row.HeartbeatBootMs
	written.SuccessMs, written.SuccessBootMs = row.SuccessMs, row.SuccessBootMs
	written.Succeeded = row.Succeeded
	return row == written
}

// wrote notes what the database has.
func (r *Sampler) wrote(rows []status.Row) {
	for _, row := range rows {
		for _, a := range r.all {
			if row.Component == status.ReadingRow(a.Name) {
				a.written = row
			}
		}
	}
}
