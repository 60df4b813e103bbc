package health

import (
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// maxGrace is what may come between two heartbeats beside the interval: a sensor
// that does not answer, a writer that waits for its turn, a slow disk.
const maxGrace = 10 * time.Second

// minGrace is what a slow disk alone may take.
const minGrace = 5 * time.Second

// minStart is what every writer may take from its start to its first heartbeat,
// however short its interval: it may have a database to repair.
const minStart = 20 * time.Second

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
// heartbeat. The row is of the one before it.
func (e *evaluation) startPatience(program string, row status.Row) time.Duration {
	limit := max(minStart, allowed(interval(row)))
	if program == shipper {
		limit += e.t.Timeout // its first request may come first
	}
	return limit
}

// writers judges the two daemons that write.
func (e *evaluation) writers() {
	for _, w := range []struct {
		program, component                           string
		severity                                     Status
		neverRan, starting, stopped, crashed, hanged Code
		consequence                                  string
	}{
		{
			collector, status.CollectorRow, StatusError,
			CollectorNeverRan, CollectorStarting, CollectorStopped, CollectorCrashed, CollectorHung, "nothing is measured",
		},
		{
			shipper, status.ShipperRow, StatusDegraded,
			ShipperNeverRan, ShipperStarting, ShipperStopped, ShipperCrashed, ShipperHung, "nothing is sent, samples are kept",
		},
	} {
		row, known := e.rows[w.component]
		d := Daemon{Status: StatusOK, State: e.stateOf(w.program, row, known), Facts: e.facts(row)}
		beat := e.age(row.BootID, row.HeartbeatMs, row.HeartbeatBootMs)
		off := w.program == shipper && !e.t.Remote
		if off {
			d.Status = StatusOff
		} else if d.State != Running {
			d.Status = w.severity
		}
		e.r.Daemons[w.program] = d
		if off {
			continue
		}
		switch d.State {
		case NeverRan:
			e.add(w.severity, w.neverRan, w.component, 0, "%s has never run on this database; %s", w.program, w.consequence)
		case Starting:
			d.Status = StatusDegraded
			e.r.Daemons[w.program] = d
			e.add(StatusDegraded, w.starting, w.component, e.lockedMs(w.program), "%s (pid %d) is starting", w.program, e.seen.Locks[w.program].PID)
		case Stopped:
			e.add(w.severity, w.stopped, w.component, row.HeartbeatMs, "%s was stopped on purpose %s ago; %s", w.program, human(beat), w.consequence)
		case Crashed:
			e.add(w.severity, w.crashed, w.component, row.HeartbeatMs, "%s (pid %d) ended without a word, last seen %s ago%s; %s",
				w.program, row.PID, human(beat), e.rebooted(row), w.consequence)
		case Hung:
			if e.unheard(w.program, row, known) {
				e.add(w.severity, w.hanged, w.component, e.lockedMs(w.program), "%s (pid %d) lives since %s and has stored nothing; %s",
					w.program, e.seen.Locks[w.program].PID, human(e.locked(w.program)), w.consequence)
				continue
			}
			e.add(w.severity, w.hanged, w.component, row.HeartbeatMs, "%s (pid %d) lives and has not moved for %s, is due every %s; %s",
				w.program, row.PID, human(beat), human(interval(row)), w.consequence)
		}
	}
}

// stateOf tells a daemon's state from its row and its lock. The row of a
// process that died says running still; the lock goes with the process.
func (e *evaluation) stateOf(program string, row status.Row, known bool) State {
	lock, asked := e.seen.Locks[program]
	if e.unheard(program, row, known) {
		if e.locked(program) > e.startPatience(program, row) {
			return Hung
		}
		return Starting
	}
	silent := e.age(row.BootID, row.HeartbeatMs, row.HeartbeatBootMs) > e.patience(row)
	switch {
	case !known:
		return NeverRan
	case row.State == status.Stopped:
		return Stopped
	case asked && !lock.Held:
		return Crashed
	case !silent && e.rebooted(row) == "":
		return Running
	case asked: // and held
		return Hung
	}
	return Crashed
}

// unheard says whether a process holds the lock that has not written its row:
// what is there is of another, or nothing is.
func (e *evaluation) unheard(program string, row status.Row, known bool) bool {
	lock := e.seen.Locks[program]
	another := !known || lock.PID != 0 && lock.PID != row.PID || e.rebooted(row) != ""
	return lock.Held && another
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
	case Hung:
		row, known := e.rows[map[string]string{collector: status.CollectorRow, shipper: status.ShipperRow}[program]]
		return !e.unheard(program, row, known)
	}
	return false
}

// rebooted says so when a row was written before this boot.
func (e *evaluation) rebooted(row status.Row) string {
	if e.now.BootID == "" || row.BootID == "" || row.BootID == e.now.BootID {
		return ""
	}
	return ", before the machine was restarted"
}
