package store

import (
	"os"
	"time"
)

// A Moment is one reading of both clocks.
type Moment struct {
	Wall time.Time
	Boot time.Duration // CLOCK_BOOTTIME: since boot, suspend included
}

// A Daemon is who writes status rows.
type Daemon struct {
	Name    string
	Version string
	BootID  string
	Started time.Time
}

// A Part keeps the status of one component up to date between writes. It is
// owned by one goroutine.
type Part struct{ status Status }

// NewPart begins the status of a component that means to beat every interval.
func NewPart(d Daemon, component string, interval time.Duration) *Part {
	return &Part{Status{
		Component:     component,
		Daemon:        d.Name,
		State:         StateRunning,
		PID:           os.Getpid(),
		Version:       d.Version,
		BootID:        d.BootID,
		StartedMs:     d.Started.UnixMilli(),
		IntervalMs:    interval.Milliseconds(),
		SuccessBootMs: -1,
		Detail:        "{}",
	}}
}

// Restore takes over what must survive a restart from the row that an earlier
// run left: totals, the last success and the last error. It may come late, when
// there was a success or an error of our own already.
func (p *Part) Restore(old Status) {
	s := &p.status
	if s.SuccessMs == 0 {
		s.SuccessMs = old.SuccessMs
		if old.BootID == s.BootID {
			s.SuccessBootMs = old.SuccessBootMs
		}
	}
	if s.ErrorMs == 0 {
		s.Error, s.ErrorMs = old.Error, old.ErrorMs
	}
	s.Succeeded, s.Failed = s.Succeeded+old.Succeeded, s.Failed+old.Failed
}

// Beat notes that the component is alive.
func (p *Part) Beat(now Moment) {
	p.status.HeartbeatMs, p.status.HeartbeatBootMs = now.Wall.UnixMilli(), now.Boot.Milliseconds()
}

// Succeed notes a beat and n units of work done.
func (p *Part) Succeed(now Moment, n int) {
	p.Beat(now)
	p.status.SuccessMs, p.status.SuccessBootMs = now.Wall.UnixMilli(), now.Boot.Milliseconds()
	p.status.FailingSinceMs = 0
	p.status.Succeeded += int64(n)
}

// Fail notes a beat and an attempt that ended in err, which counts n times.
func (p *Part) Fail(now Moment, err error, n int) {
	p.Beat(now)
	text := err.Error()
	p.status.Error, p.status.ErrorMs = text[:min(len(text), maxWords)], now.Wall.UnixMilli()
	if p.status.FailingSinceMs == 0 {
		p.status.FailingSinceMs = now.Wall.UnixMilli()
	}
	p.status.Failed += int64(n)
}

// SetDetail replaces what only this component knows: a JSON object.
func (p *Part) SetDetail(json string) { p.status.Detail = json }

// Stop notes that the daemon ends on purpose.
func (p *Part) Stop(now Moment) {
	p.Beat(now)
	p.status.State = StateStopped
}

// Status is the row to write.
func (p *Part) Status() Status { return p.status }
