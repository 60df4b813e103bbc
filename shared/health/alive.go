package health

import (
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// maxGrace is what may come between two heartbeats beside the interval: a
	// sensor that does not answer, a writer that waits for its turn, a slow disk.
	maxGrace = 10 * time.Second
	// minGrace is what a slow disk alone may take.
	minGrace = 5 * time.Second
	// minStart is what every writer may take from its start to its first
	// heartbeat, however short its interval: it may have a database to repair.
	minStart = 20 * time.Second
	// startToLock is what a process may take from its start to its lock.
	startToLock = 10 * time.Second
)

// allowed is how old a heartbeat that is due every interval may get.
func allowed(every time.Duration) time.Duration {
	return every + min(2*every+5*time.Second, maxGrace)
}

// patience is how old a heartbeat of the component may get. The shipper's waits
// for its requests, each of which may take the timeout. One whose last request
// was answered well is not expected to be in the middle of a slow one: it is
// given another interval.
func (e *evaluation) patience(s status.Row) time.Duration {
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

// startPatience is how long a writer may hold its lock before its first
// heartbeat. The row is of the run before.
func (e *evaluation) startPatience(program string, row status.Row) time.Duration {
	limit := max(minStart, allowed(interval(row)))
	if program == shipper {
		limit += e.t.Timeout // its first request may come first
	}
	return limit
}

// stateOf tells a daemon's state from its row and its lock. The row of a
// process that died says running still; the lock goes with the process.
func (e *evaluation) stateOf(program string, row status.Row, known bool) State {
	lock, asked := e.seen.Locks[program]
	unreadable := asked && lock.Fault != ""
	asked = asked && !unreadable
	switch {
	case e.lockedWithoutRow(program, row, known):
		if e.locked(program) > e.startPatience(program, row) {
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
	silent := e.age(row.BootID, row.HeartbeatMs, row.HeartbeatBootMs) > e.patience(row)
	switch {
	case !silent && e.rebooted(row) == "":
		return Running
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

// wrote says whether the row is of the process that holds the lock. The pid is
// compared as that process knows it, which is in another container than this
// one perhaps. A pid comes back after a reboot; a boot id that differs may be
// the container's. The times tell: a process takes its lock when it starts.
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

// findBoots notes the boot ids that are this boot's by another name: those of
// rows of a process that lives.
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

// locked is how long the lock is held, 0 if that is not known. The process lives,
// so it was taken in this boot, whatever the wall clock was then.
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

// alive says whether what a daemon wrote of itself still holds: one that is gone
// fails at nothing any more, and one that follows it has not written yet.
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

// rebooted says so when a row was written before this boot.
func (e *evaluation) rebooted(row status.Row) string {
	if e.now.BootID == "" || row.BootID == "" || e.boots[row.BootID] {
		return ""
	}
	return ", before the machine was restarted"
}
