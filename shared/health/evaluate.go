package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// lossWindow is how long a loss or a rejection is a reason.
	lossWindow = time.Hour
	// clockGrace is how long the clock may be unconfirmed after a start.
	clockGrace = 10 * time.Minute
)

// Evaluate makes the report of one observation. It reads no clock and no file.
func Evaluate(seen Observation, t Thresholds, now Moment) Report {
	e := evaluation{seen: seen, t: t, now: now, rows: map[string]status.Row{}}
	e.r = Report{
		Timestamp:  now.Wall.UTC().Format(time.RFC3339),
		Reasons:    []Reason{},
		Daemons:    map[string]Daemon{},
		Collectors: map[string]Collector{},
		Time:       Time{Status: StatusOK, Local: now.Wall.Format(time.RFC3339)},
	}
	if seen.Fault != "" {
		e.add(StatusError, seen.Fault, status.StorageRow, 0, "%s", seen.FaultText)
		e.r.Uploader.Status, e.r.Storage.Status, e.r.Time.Status = StatusError, StatusError, StatusError
	} else {
		for _, s := range seen.Snapshot.Status {
			e.rows[s.Component] = s
		}
		e.findBoots()
		e.writers()
		e.collectors()
		e.uploads()
		e.storage()
		e.clock()
	}
	if seen.ConfigFault != "" {
		e.add(StatusDegraded, ConfigInvalid, "config", 0,
			"the configuration file is not valid any more: %s; a daemon that is restarted does not start", seen.ConfigFault)
	}
	sortReasons(&e.r)
	return e.r
}

// An evaluation is one call of Evaluate.
type evaluation struct {
	seen Observation
	t    Thresholds
	now  Moment
	rows map[string]status.Row // by component
	// boots are the boot ids that mean this boot.
	boots map[string]bool
	r     Report
}

// add adds a reason. sinceMs 0 means now, for a condition whose beginning is not known.
func (e *evaluation) add(severity Status, code Code, component string, sinceMs int64, format string, args ...any) {
	if sinceMs <= 0 {
		sinceMs = e.now.Wall.UnixMilli()
	}
	e.r.Reasons = append(e.r.Reasons, Reason{
		code, component, severity, fmt.Sprintf(format, args...), stamp(sinceMs),
		hints[code],
	})
}

// sortReasons puts the worst first and makes it the status.
func sortReasons(r *Report) {
	slices.SortStableFunc(r.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Severity.ExitCode(), a.Severity.ExitCode()), cmp.Compare(a.Since, b.Since),
			cmp.Compare(a.Component, b.Component), cmp.Compare(a.Code, b.Code))
	})
	r.Status = StatusOK
	if len(r.Reasons) > 0 {
		r.Status = r.Reasons[0].Severity
	}
}

// worstOf returns the worst severity among the reasons of the components for which is
// returns true.
func (e *evaluation) worstOf(is func(component string) bool) Status {
	worst := StatusOK
	for _, r := range e.r.Reasons {
		if is(r.Component) && r.Severity.ExitCode() > worst.ExitCode() {
			worst = r.Severity
		}
	}
	return worst
}

// age is how long ago something was: by the boot clock if it was in this boot, otherwise
// by the wall clock. bootMs < 0: not in this boot.
func (e *evaluation) age(bootID string, ms, bootMs int64) time.Duration {
	if e.boots[bootID] && bootMs >= 0 {
		return max(0, e.now.Boot-time.Duration(bootMs)*time.Millisecond)
	}
	age := max(0, e.now.Wall.Sub(time.UnixMilli(ms)))
	if e.boots[bootID] {
		age = min(age, e.now.Boot) // the wall clock was set since
	}
	return age
}

// facts are the parts of a row that every component has.
func (e *evaluation) facts(s status.Row) Facts {
	f := Facts{
		PID: s.PID, Version: s.Version, Started: stamp(s.StartedMs),
		IntervalSeconds: float64(s.IntervalMs) / 1000,
		LastSuccess:     stamp(s.SuccessMs),
		LastErrorAt:     stamp(s.ErrorMs),
		FailingSince:    stamp(s.FailingSinceMs),
		Succeeded:       s.Succeeded, Failed: s.Failed,
	}
	if s.HeartbeatMs != 0 {
		seconds := tenths(e.age(s.BootID, s.HeartbeatMs, s.HeartbeatBootMs))
		f.HeartbeatSeconds = &seconds
	}
	if s.ErrorMs != 0 {
		f.LastError = &s.Error
	}
	return f
}

// tenths is a duration in seconds with one decimal.
func tenths(d time.Duration) float64 {
	return float64(d.Round(100*time.Millisecond)/(100*time.Millisecond)) / 10
}

// collectors evaluates the collectors within metrics-collector.
func (e *evaluation) collectors() {
	writer := e.r.Daemons[collector]
	row := e.rows[status.CollectorRow]
	running := e.age(row.BootID, row.StartedMs, -1)
	failing, total := 0, 0
	for _, s := range e.seen.Snapshot.Status {
		name, ok := status.Reading(s.Component)
		if !ok {
			continue
		}
		total++
		c := Collector{Status: StatusOK, LastCollection: stamp(s.SuccessMs), MetricsCollected: s.Succeeded, Facts: e.facts(s)}
		beat := e.age(s.BootID, s.HeartbeatMs, s.HeartbeatBootMs)
		switch {
		case writer.State != Running:
			// The daemon has a reason already.
			c.Status = writer.Status
		case s.FailingSinceMs != 0 && s.SuccessMs != 0 && s.SuccessMs == s.HeartbeatMs:
			c.Status = StatusDegraded
			e.add(StatusDegraded, CollectorReadFailing, s.Component, s.FailingSinceMs,
				"%s cannot read everything: %s; the rest is stored", name, s.Error)
		case s.FailingSinceMs != 0:
			failing++
			c.Status = StatusError
			e.add(StatusDegraded, CollectorReadFailing, s.Component, s.FailingSinceMs,
				"%s cannot be read: %s; it is tried again every %s", name, s.Error, human(interval(s)))
		case min(beat, running) > e.allowedAge(s): // after a start the row is of the run before
			c.Status = StatusError
			e.add(StatusDegraded, CollectorReadSilent, s.Component, s.HeartbeatMs,
				"%s last ran %s ago; expected every %s", name, human(beat), human(interval(s)))
		}
		e.r.Collectors[name] = c
	}
	if writer.State != Running {
		return
	}
	if total > 0 && failing == total {
		e.add(StatusError, AllReadingsFailing, status.CollectorRow, 0, "none of the %d collectors can read its source", total)
	}
	if e.t.NoCollectors {
		e.add(StatusDegraded, NoCollectors, status.CollectorRow, 0, "the configuration enables no collector; nothing is measured")
		return
	}
	for _, want := range e.t.Expected {
		if _, ok := e.r.Collectors[want.Name]; !ok && running > allowed(want.Interval) {
			e.r.Collectors[want.Name] = Collector{Status: StatusError}
			e.add(StatusDegraded, CollectorReadSilent, status.ReadingRow(want.Name), row.StartedMs,
				"%s is configured and has never run; restart metrics-collector to make it read a changed configuration", want.Name)
		}
	}
	if e.seen.Snapshot.Ledger.Captured == 0 {
		e.add(StatusDegraded, NoSamplesYet, status.CollectorRow, row.StartedMs, "no sample has been stored yet")
	}
}

// interval is how often a component is due.
func interval(s status.Row) time.Duration { return time.Duration(s.IntervalMs) * time.Millisecond }

// human writes a duration as people say it: 850ms, 14s, 3m20s, 5h10m, 3d4h.
func human(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
