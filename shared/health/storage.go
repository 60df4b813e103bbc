package health

import (
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// storage evaluates the database file, its WAL and the ledger.
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
	if e.alive(collector) {
		e.upkeep()
	}
	if s.Sizes.WAL > e.t.WALBytes {
		e.add(StatusDegraded, WALLarge, status.StorageRow, 0, "the WAL has %d MiB, limit %d", s.Sizes.WAL>>20, e.t.WALBytes>>20)
	}
	if row := e.rows[status.DamageRow]; e.recent(row.ErrorMs) {
		e.add(StatusDegraded, DatabaseRepaired, status.StorageRow, row.ErrorMs, "%s", row.Error)
	}
	if row := e.rows[status.HistoryRow]; e.recent(row.ErrorMs) {
		e.add(StatusDegraded, DatabaseWentBack, status.StorageRow, row.ErrorMs, "%s", row.Error)
	}
	if l.Pending < 0 {
		e.add(StatusError, LedgerUnbalanced, status.StorageRow, 0,
			"the ledger does not balance: %d more samples left the database than entered it", -l.Pending)
	}
	if e.recent(e.seen.RejectedMs) {
		e.add(StatusDegraded, SamplesRejected, status.StorageRow, e.seen.RejectedMs,
			"the server rejected samples within the last hour; %d are kept in the table rejected, each with the reason",
			l.Rejected)
	}
	for _, loss := range s.Losses {
		e.r.Storage.LostByReason[loss.Reason] = loss.Count
		if e.recent(loss.LastMs) {
			e.add(StatusDegraded, SamplesLost, status.StorageRow, loss.LastMs,
				"samples were lost within the last hour (%s): %d so far", loss.Reason, loss.Count)
		}
	}
	e.r.Storage.Status = e.worstOf(func(component string) bool { return component == status.StorageRow })
}

// upkeep evaluates the collector's rows about storing and upkeep.
func (e *evaluation) upkeep() {
	if row := e.rows[status.CollectorRow]; row.FailingSinceMs != 0 {
		e.add(StatusError, CollectorFailing, status.CollectorRow, row.FailingSinceMs, "%s; it is tried again every %s",
			row.Error, human(interval(row)))
	}
	if row := e.rows[status.StorageRow]; row.FailingSinceMs != 0 {
		e.add(StatusError, StorageFailing, status.StorageRow, row.FailingSinceMs, "%s; it is tried again", row.Error)
	}
	if e.seen.DiskFull != "" {
		e.add(StatusError, DiskFull, status.StorageRow, 0,
			"%s; nothing can be stored, and what the daemons do is not known from their heartbeats", e.seen.DiskFull)
	}
	d := detailOf[status.Storage](e, status.StorageRow)
	if d.CheckpointBusySinceMs != 0 {
		if kept := e.age("", d.CheckpointBusySinceMs, -1); kept > e.t.CheckpointAge {
			e.add(StatusDegraded, CheckpointBlocked, status.StorageRow, d.CheckpointBusySinceMs,
				"a reader has kept the WAL from being emptied for %s, limit %s; another program has the database open",
				human(kept), human(e.t.CheckpointAge))
		}
	}
	if d.FreeBytesShort > 0 {
		e.add(StatusDegraded, DiskLow, status.StorageRow, 0, "the disk has %s free, %s less than storage.min_free_mb",
			bytesText(d.FreeBytes), bytesText(d.FreeBytesShort))
	}
	if d.SeriesFullSinceMs != 0 {
		e.add(StatusDegraded, SeriesLimit, status.StorageRow, d.SeriesFullSinceMs,
			"%d series are stored and there is room for about %d; samples of new series are not stored and are counted as lost (series_limit)", d.Series, d.SeriesLimit)
	}
	if d.Evicting != "" {
		e.add(StatusDegraded, SamplesEvicted, status.StorageRow, 0,
			"samples are deleted before their time to make room (%s)", d.Evicting)
	}
}

// recent says whether a time is within lossWindow. A time ahead of the clock counts as
// recent, because then the clock is wrong.
func (e *evaluation) recent(ms int64) bool {
	return ms != 0 && e.now.Wall.Sub(time.UnixMilli(ms)) <= lossWindow
}
