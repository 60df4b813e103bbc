package health

import (
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// maxGrace is the most that two heartbeats may be apart beyond the interval: because
	// of a sensor that does not answer, another writer, or a slow disk.
	maxGrace = 10 * time.Second
	// minGrace is the delay that a slow disk alone may cause.
	minGrace = 5 * time.Second
	// minStart is how long every writer may take from its start to its first heartbeat,
	// because it may have to repair the database.
	minStart = 20 * time.Second
	// startToLock is how long a process may take from its start to its lock.
	startToLock = 10 * time.Second
)

// allowed is how old a heartbeat may become that is due every so often.
func allowed(every time.Duration) time.Duration {
	return every + min(2*every+5*time.Second, maxGrace)
}

// allowedAge is how old a heartbeat of the component may become. The shipper's
// heartbeats wait for its requests, each of which may take the timeout. If its last
// request succeeded, a slow one is unlikely, and it gets only another interval.
func (e *evaluation) allowedAge(s status.Row) time.Duration {
	every := interval(s)
	if s.Component != status.ShipperRow {
		return allowed(every)
	}
	grace := e.t.Timeout + minGrace
	switch detailOf[status.Shipper](e, status.ShipperRow).Outcome {
	case status.OutcomeDelivered, status.OutcomeIdle, status.OutcomeDisabled:
		grace = min(grace, max(every, minGrace))
	}
	return every + grace
}

// allowedStart is how long a writer may hold its lock before its first
// heartbeat. The row is of the run before.
func (e *evaluation) allowedStart(program string, row status.Row) time.Duration {
	limit := max(minStart, allowed(interval(row)))
	if program == shipper {
		limit += e.t.Timeout // its first request may come first
	}
	return limit
}

// stateOf finds a daemon's state from its row and its lock. The row of a process that
// died still says running; its lock is free.
func (e *evaluation) stateOf(program string, row status.Row, known bool) State {
	lock, asked := e.seen.Locks[program]
	unreadable := asked && lock.Fault != ""
	asked = asked && !unreadable
	switch {
	case e.lockedWithoutRow(program, row, known):
		if e.locked(program) > e.allowedStart(program, row) {
			return Hung
		}
		return Starting
	case asked && !lock.Held && e.startedSince(row, lock):
		return Failed
	case !known:
		return NeverRan
	case row.State == status.Stopped:
		return Stopped
	case row.State == status.Failed:
		return Failed
	case asked && !lock.Held:
		return Crashed
	}
	silent := e.age(row.BootID, row.HeartbeatMs, row.HeartbeatBootMs) > e.allowedAge(row)
	switch {
	case !silent && e.rebooted(row) == "":
		return Running
	case asked && e.seen.DiskFull != "" && e.rebooted(row) == "":
		return Running // it lives, and has no room for a heartbeat
	case asked: // and held
		return Hung
	case unreadable && e.rebooted(row) == "":
		return Silent
	}
	return Crashed
}

// startedSince says whether a process took the lock after the row was written,
// and is gone without a row of its own: one that stops cleanly empties the lock.
func (e *evaluation) startedSince(row status.Row, lock Lock) bool {
	return !lock.Held && lock.Written != 0 && lock.Written != row.PID
}

// lockedWithoutRow says whether a process holds the lock that has not written
// its row: the row is of another, or there is none.
func (e *evaluation) lockedWithoutRow(program string, row status.Row, known bool) bool {
	lock := e.seen.Locks[program]
	return lock.Held && lock.Fault == "" && (!known || !e.wrote(row, lock))
}

// wrote says whether the process that holds the lock wrote the row. The pid is the one
// that the process itself knows, perhaps in another container. After a reboot another
// process may have the same pid, and a different boot id may be that of a container.
// The times decide: a process takes its lock when it starts.
func (e *evaluation) wrote(row status.Row, lock Lock) bool {
	pid := lock.Written
	if pid == 0 {
		pid = lock.PID
	}
	if pid != 0 && pid != row.PID {
		return false
	}
	if e.now.BootID == "" || row.BootID == "" || row.BootID == e.now.BootID {
		return true
	}
	taken := lock.Since.Sub(time.UnixMilli(row.StartedMs))
	return pid != 0 && taken > -2*time.Second && taken < startToLock && row.HeartbeatBootMs <= e.now.Boot.Milliseconds()
}

// findBoots finds the boot ids that mean this boot: those in the rows of processes that
// run.
func (e *evaluation) findBoots() {
	e.boots = map[string]bool{e.now.BootID: true}
	for _, w := range writers {
		row, known := e.rows[w.component]
		if lock := e.seen.Locks[w.program]; known && lock.Held && row.BootID != "" && e.wrote(row, lock) {
			e.boots[row.BootID] = true
		}
	}
	delete(e.boots, "")
}

// locked is how long the lock has been held, 0 if that is not known. The process runs,
// so that the lock was taken in this boot, also if the wall clock was different then.
func (e *evaluation) locked(program string) time.Duration {
	if ms := e.lockedMs(program); ms != 0 {
		return e.age(e.now.BootID, ms, -1)
	}
	return 0
}

func (e *evaluation) lockedMs(program string) int64 {
	if since := e.seen.Locks[program].Since; !since.IsZero() {
		return since.UnixMilli()
	}
	return 0
}

// alive says whether a daemon's row describes its present state: not if the process is
// gone, or if its successor has not written yet.
func (e *evaluation) alive(program string) bool {
	switch e.r.Daemons[program].State {
	case Running:
		return true
	case Hung, Silent:
		row, known := e.rows[map[string]string{collector: status.CollectorRow, shipper: status.ShipperRow}[program]]
		return !e.lockedWithoutRow(program, row, known)
	}
	return false
}

// rebooted returns a remark if a row was written before this boot, "" otherwise.
func (e *evaluation) rebooted(row status.Row) string {
	if e.now.BootID == "" || row.BootID == "" || e.boots[row.BootID] {
		return ""
	}
	return ", before the machine was restarted"
}
