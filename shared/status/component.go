package status

import (
	"os"
	"strings"
	"time"
)

// maxError bounds the text of an error in a row, in bytes.
const maxError = 1000

// A Moment is one reading of both clocks.
type Moment struct {
	Wall time.Time
	Boot time.Duration // CLOCK_BOOTTIME: since boot, suspend included
}

// A Daemon identifies the process that writes status rows.
type Daemon struct {
	Name    string
	Version string
	BootID  string
	Started time.Time
}

// A Component keeps the row of one component up to date between writes. It is
// owned by one goroutine.
type Component struct{ row Row }

// NewComponent returns a component whose heartbeat is due every interval.
func NewComponent(d Daemon, component string, interval time.Duration) *Component {
	return &Component{Row{
		Component:     component,
		Daemon:        d.Name,
		State:         Running,
		PID:           os.Getpid(),
		Version:       d.Version,
		BootID:        d.BootID,
		StartedMs:     d.Started.UnixMilli(),
		IntervalMs:    interval.Milliseconds(),
		SuccessBootMs: -1,
		Detail:        "{}",
	}}
}

// Restore takes the totals, the last success and the last error from the row of an
// earlier run. It may be called after this run had its first success or error.
func (c *Component) Restore(old Row) {
	r := &c.row
	if r.SuccessMs == 0 {
		r.SuccessMs = old.SuccessMs
		if old.BootID == r.BootID {
			r.SuccessBootMs = old.SuccessBootMs
		}
	}
	if r.ErrorMs == 0 {
		r.Error, r.ErrorMs = old.Error, old.ErrorMs
	}
	r.Succeeded, r.Failed = r.Succeeded+old.Succeeded, r.Failed+old.Failed
}

// Beat sets the heartbeat.
func (c *Component) Beat(now Moment) {
	c.row.HeartbeatMs, c.row.HeartbeatBootMs = now.Wall.UnixMilli(), now.Boot.Milliseconds()
}

// Succeed sets the heartbeat and counts n units of work.
func (c *Component) Succeed(now Moment, n int) {
	c.Beat(now)
	c.row.SuccessMs, c.row.SuccessBootMs = now.Wall.UnixMilli(), now.Boot.Milliseconds()
	c.row.FailingSinceMs = 0
	c.row.Succeeded += int64(n)
}

// Fail sets the heartbeat and the error, and counts n failures.
func (c *Component) Fail(now Moment, err error, n int) {
	c.Beat(now)
	text := err.Error()
	c.row.Error, c.row.ErrorMs = strings.ToValidUTF8(text[:min(len(text), maxError)], ""), now.Wall.UnixMilli()
	if c.row.FailingSinceMs == 0 {
		c.row.FailingSinceMs = now.Wall.UnixMilli()
	}
	c.row.Failed += int64(n)
}

// Expect says how often a beat is due from now on.
func (c *Component) Expect(interval time.Duration) { c.row.IntervalMs = interval.Milliseconds() }

// SetDetail sets the detail, such as Shipper, Storage or Skew.
func (c *Component) SetDetail(detail any) { c.row.Detail = Text(detail) }

// Stop sets the state of a daemon that ends on purpose.
func (c *Component) Stop(now Moment) {
	c.Beat(now)
	c.row.State = Stopped
}

// End sets the state of a daemon that ends because of err. Old is the row of the
// previous run: a daemon that fails at each start has been failing since the first
// of them.
func (c *Component) End(now Moment, err error, old Row) {
	c.Restore(old)
	if old.State == Failed {
		c.row.FailingSinceMs = old.FailingSinceMs
	}
	c.Fail(now, err, 1)
	c.row.State = Failed
}

// Row is the row to write.
func (c *Component) Row() Row { return c.row }
