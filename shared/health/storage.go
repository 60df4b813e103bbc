package health

import "time"

// storage judges the database file, its log and the books.
func (e *evaluation) storage() {
	s := e.seen.Snapshot
	l := s.Ledger
	e.r.Storage = Storage{
		DatabaseSizeBytes:     s.Sizes.Database,
		WALSizeBytes:          s.Sizes.WAL,
		MetricsPendingUpload:  l.Pending,
		OldestMetricTimestamp: stamp(s.OldestMs),
		OldestPending:         stamp(s.PendingMs),
		Captured:              l.Captured,
		Delivered:             l.Delivered,
		Held:                  l.Held,
		Rejected:              l.Rejected,
		Local:                 l.Local,
		Lost:                  l.Lost,
		LostByReason:          map[string]int64{},
	}
	for _, component := range []string{"storage", "collector"} {
		row := e.rows[component]
		if row.FailingSinceMs == 0 {
			continue
		}
		code := map[string]Code{"storage": StorageFailing, "collector": CollectorFailing}[component]
		e.add(StatusError, code, component, row.FailingSinceMs, "%s; it is tried again every %s", row.Error, human(interval(row)))
	}
	if busy := e.detailOf("storage").CheckpointBusyMs; busy != 0 {
		if kept := e.age("", busy, -1); kept > e.t.CheckpointAge {
			e.add(StatusDegraded, CheckpointBlocked, "storage", busy, "a reader keeps the write-ahead log from being emptied for %s, limit %s; another program has the database open",
				human(kept), human(e.t.CheckpointAge))
		}
	}
	if s.Sizes.WAL > e.t.WALBytes {
		e.add(StatusDegraded, WALLarge, "storage", 0, "the write-ahead log has %d MiB, limit %d", s.Sizes.WAL>>20, e.t.WALBytes>>20)
	}
	if l.Pending < 0 {
		e.add(StatusError, LedgerUnbalanced, "storage", 0, "the books are %d samples short: more left than came", -l.Pending)
	}
	if e.recent(e.seen.RejectedMs) {
		e.add(StatusDegraded, SamplesRejected, "storage", e.seen.RejectedMs, "the server refused samples within the last hour; %d are set aside, with the reason, in the table rejected", l.Rejected)
	}
	for _, loss := range s.Losses {
		e.r.Storage.LostByReason[loss.Reason] = loss.Count
		if e.recent(loss.LastMs) {
			e.add(StatusDegraded, SamplesLost, "storage", loss.LastMs, "samples were given up within the last hour (%s): %d so far", loss.Reason, loss.Count)
		}
	}
	e.r.Storage.Status = e.worstOf(func(component string) bool { return component == "storage" })
}

// recent says whether something that happened at ms is news. A time ahead of
// the clock counts: the clock is what is wrong then.
func (e *evaluation) recent(ms int64) bool {
	return ms != 0 && e.now.Wall.Sub(time.UnixMilli(ms)) <= lossWindow
}
