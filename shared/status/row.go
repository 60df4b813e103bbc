// Package status defines the state that the daemons store in the database: the
// rows of the table status, what each component keeps in a row's detail, and the
// reasons under which samples are counted as lost. Writers marshal these types
// and metrics-health reads the same ones, so a key has one name.
//
// The one rule here: names of components, JSON keys and reasons are stored on
// boards in the field. They are added to and never renamed.
package status

import "slices"

// A Row is the latest state of one component: one row of the table status, written
// in the same transaction as the work that it describes. Times are Unix
// milliseconds, or milliseconds of CLOCK_BOOTTIME where the name says Boot. Ages are
// computed from the latter, because the wall clock of a board is set while it runs.
type Row struct {
	Component       string // CollectorRow, ReadingRow("cpu.usage"), ShipperRow, …
	Daemon          string
	State           string // Running, Stopped or Failed
	PID             int
	Version         string
	BootID          string
	StartedMs       int64
	IntervalMs      int64 // how often a heartbeat is due
	HeartbeatMs     int64
	HeartbeatBootMs int64
	SuccessMs       int64 // 0: never
	SuccessBootMs   int64 // -1: not in this boot
	Error           string
	ErrorMs         int64 // 0: never
	FailingSinceMs  int64 // 0: the last attempt succeeded
	Succeeded       int64
	Failed          int64
	Detail          string // a JSON object: Shipper, Storage, Clock, Skew or Damage; "" for none
}

// States of a row. The row of a daemon that was killed still says Running.
const (
	Running = "running"
	Stopped = "stopped" // on purpose
	Failed  = "failed"  // it ended with the error of the row
)

// Names of the components, each of which has one row.
const (
	CollectorRow = "collector" // metrics-collector as a whole
	StorageRow   = "storage"   // its upkeep of the database: WAL, retention
	ClockRow     = "clock"     // whether the wall clock is trusted; read by every writer
	DamageRow    = "damage"    // the last damage that was found and repaired
	HistoryRow   = "history"   // that the database went back to an earlier state
	RepairRow    = "repair"    // damage that the shipper found, for the collector to repair
	ShipperRow   = "shipper"   // metrics-shipper as a whole
	SkewRow      = "skew"      // the shipper's comparison with the server's clock

	readingPrefix = CollectorRow + "/"
)

// ReadingRow is the name of the component of one collector within
// metrics-collector, such as "collector/cpu.usage".
func ReadingRow(collector string) string { return readingPrefix + collector }

// Reading returns the name of the collector whose component this is; ok is false
// for the other components.
func Reading(component string) (collector string, ok bool) {
	if len(component) > len(readingPrefix) && component[:len(readingPrefix)] == readingPrefix {
		return component[len(readingPrefix):], true
	}
	return "", false
}

// SelfPriority is the priority of self-metrics, the lowest.
const SelfPriority = 3

// RestoreReadings completes the rows of collectors from the detail of the row of
// metrics-collector, which is written with every round.
func RestoreReadings(rows []Row) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Component == CollectorRow })
	if i < 0 {
		return
	}
	daemon := rows[i]
	detail, err := Detail[Collector](daemon)
	if err != nil {
		return // of another version: the rows are as they are
	}
	for i := range rows {
		r := &rows[i]
		name, ok := Reading(r.Component)
		last, listed := detail.Readings[name]
		if !ok || !listed || r.StartedMs != daemon.StartedMs || r.FailingSinceMs != 0 || r.State != Running {
			continue
		}
		r.HeartbeatMs, r.HeartbeatBootMs = daemon.HeartbeatMs-last[0], daemon.HeartbeatBootMs-last[0]
		r.SuccessMs, r.SuccessBootMs = r.HeartbeatMs, r.HeartbeatBootMs
		r.Succeeded = last[1]
	}
}
