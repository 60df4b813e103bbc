package health

import (
	"fmt"

	"github.com/taniwha3/thugshells/shared/status"
)

// A writer is a daemon that writes the database, with the codes of its states.
type writer struct {
	program, component string
	severity           Status // of a daemon that does not work
	codes              map[State]Code
	consequence        string
}

var writers = []writer{
	{collector, status.CollectorRow, StatusError, map[State]Code{
		NeverRan: CollectorNeverRan, Starting: CollectorStarting, Stopped: CollectorStopped, Failed: CollectorFailed,
		Crashed: CollectorCrashed, Hung: CollectorHung, Silent: CollectorSilent,
	}, "nothing is measured"},
	{shipper, status.ShipperRow, StatusDegraded, map[State]Code{
		NeverRan: ShipperNeverRan, Starting: ShipperStarting, Stopped: ShipperStopped, Failed: ShipperFailed,
		Crashed: ShipperCrashed, Hung: ShipperHung, Silent: ShipperSilent,
	}, "nothing is sent; samples are kept"},
}

// writers evaluates the two daemons that write.
func (e *evaluation) writers() {
	for _, w := range writers {
		row, known := e.rows[w.component]
		d := Daemon{Status: StatusOK, State: e.stateOf(w.program, row, known), Facts: e.facts(row)}
		off := w.program == shipper && !e.t.Remote
		switch {
		case off:
			d.Status = StatusOff
		case d.State == Starting:
			d.Status = StatusDegraded
		case d.State != Running:
			d.Status = w.severity
		}
		e.r.Daemons[w.program] = d
		if d.State != Running && !off {
			text, sinceMs := e.explain(w, d.State, row, known)
			if d.State != Starting {
				text += "; " + w.consequence
			}
			e.add(d.Status, w.codes[d.State], w.component, sinceMs, "%s", text)
		}
	}
}

// explain describes the state of a daemon that does not run properly, and since when it
// has it; 0: not known.
func (e *evaluation) explain(w writer, state State, row status.Row, known bool) (text string, sinceMs int64) {
	lock := e.seen.Locks[w.program]
	beat := human(e.age(row.BootID, row.HeartbeatMs, row.HeartbeatBootMs))
	switch state {
	case NeverRan:
		return w.program + " has never run on this database", 0
	case Starting:
		text = fmt.Sprintf("%s (pid %d) is starting", w.program, lock.PID)
		if row.State == status.Failed {
			text += "; its last start ended with: " + row.Error
		}
		return text, e.lockedMs(w.program)
	case Stopped:
		return fmt.Sprintf("%s was stopped on purpose %s ago", w.program, beat), row.HeartbeatMs
	case Failed:
		if known && row.State == status.Failed && !e.startedSince(row, lock) {
			return fmt.Sprintf("%s ended %s ago with an error: %s", w.program, beat, row.Error), row.FailingSinceMs
		}
		return fmt.Sprintf("%s (pid %d) was started %s ago and ended before it could store anything; its log says why (journalctl -u %s)",
			w.program, lock.Written, human(e.locked(w.program)), w.program), e.lockedMs(w.program)
	case Crashed:
		return fmt.Sprintf("%s (pid %d) ended unexpectedly; its last heartbeat was %s ago%s", w.program, row.PID, beat,
			e.rebooted(row)), row.HeartbeatMs
	case Silent:
		return fmt.Sprintf("%s (pid %d) gave no heartbeat for %s; whether it still runs is not known, because its lock cannot be read: %s",
			w.program, row.PID, beat, lock.Fault), row.HeartbeatMs
	}
	if e.lockedWithoutRow(w.program, row, known) {
		return fmt.Sprintf("%s (pid %d) has been running for %s and has stored nothing", w.program, lock.PID,
			human(e.locked(w.program))), e.lockedMs(w.program)
	}
	return fmt.Sprintf("%s (pid %d) has made no progress for %s; expected every %s", w.program, row.PID, beat,
		human(interval(row))), row.HeartbeatMs
}
