package health

import (
	"fmt"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// detailOf returns a component's detail, as far as it has the types of this version.
func detailOf[T status.Shipper | status.Storage | status.Clock | status.Skew](e *evaluation, component string) T {
	d, err := status.Detail[T](e.rows[component])
	if err != nil {
		return d // a component without a row has no detail either
	}
	return d
}

// uploads evaluates the delivery of samples.
func (e *evaluation) uploads() {
	s, row, d := e.seen.Snapshot, e.rows[status.ShipperRow], detailOf[status.Shipper](e, status.ShipperRow)
	pending := s.Ledger.Pending
	ever := s.DeliveryMs != 0 || s.Ledger.Delivered > 0
	e.r.Ready = ever || !e.t.Remote
	u := &e.r.Uploader
	*u = Uploader{
		Status:          StatusOK,
		LastUpload:      stamp(s.DeliveryMs),
		MetricsUploaded: s.Ledger.Delivered,
		UploadFailures:  row.Failed,
		PendingMetrics:  pending,
		Outcome:         d.Outcome,
		HTTPStatus:      d.HTTPStatus,
		Endpoint:        d.Endpoint,
		BytesToday:      d.BytesToday,
		BytesPerDay:     e.t.BytesPerDay,
		Plaintext:       d.Plaintext,
	}
	if row.ErrorMs != 0 {
		u.LastError, u.LastErrorAt = &row.Error, stamp(row.ErrorMs)
	}
	if row.FailingSinceMs != 0 {
		u.RetryQueueSize = pending
	}
	if !e.t.Remote {
		u.Status = StatusOff
		return
	}
	late := e.lateness(ever)
	if ever {
		seconds := tenths(e.deliveryAge())
		u.UploadAge = &seconds
	}
	switch {
	case late > e.t.ErrorAge && pending > e.t.ErrorPending:
		e.add(StatusError, UploadStuck, status.ShipperRow, e.agoMs(late),
			"no delivery for %s, limit %s, and %d samples pending, limit %d%s",
			human(late), human(e.t.ErrorAge), pending, e.t.ErrorPending, e.why(d))
	case late > e.t.DegradedAge:
		e.add(StatusDegraded, UploadLate, status.ShipperRow, e.agoMs(late), "no delivery for %s, limit %s%s",
			human(late), human(e.t.DegradedAge), e.why(d))
	case !ever:
		e.add(StatusDegraded, NoDeliveryYet, status.ShipperRow, s.PendingMs, "nothing has been delivered yet%s", e.why(d))
	}
	if pending > e.t.DegradedPending {
		e.add(StatusDegraded, PendingHigh, status.ShipperRow, 0, "%d samples pending, limit %d", pending, e.t.DegradedPending)
	}
	if d.Misconfigured != "" && e.alive(shipper) {
		e.add(StatusDegraded, ShipperMisconfigured, status.ShipperRow, row.FailingSinceMs,
			"uploads fail, and not because of single samples: %s. Samples are kept. Check remote.url and the token", d.Misconfigured)
	}
	if d.LittleTaken != "" && e.alive(shipper) {
		e.add(StatusDegraded, ServerTakesLittle, status.ShipperRow, 0,
			"%s. Samples are kept; requests are small and wait longer between them.", d.LittleTaken)
	}
	if d.BudgetSpent && e.alive(shipper) {
		e.add(StatusDegraded, UploadBudgetSpent, status.ShipperRow, 0,
			"the bytes allowed for today (remote.max_bytes_per_day) are used up; samples are kept and sent tomorrow")
	}
	u.Status = e.worstOf(func(component string) bool { return component == status.ShipperRow })
}

// deliveryAge is the time since the last delivery.
func (e *evaluation) deliveryAge() time.Duration {
	s, row := e.seen.Snapshot, e.rows[status.ShipperRow]
	// The row's success is written with the receipt, and also has the boot clock.
	if row.SuccessMs != 0 && row.SuccessMs >= s.DeliveryMs {
		return e.age(row.BootID, row.SuccessMs, row.SuccessBootMs)
	}
	return e.age("", s.DeliveryMs, -1)
}

// lateness is how long samples have been waiting without a delivery: the age of the
// oldest pending sample, or the time since the last delivery if that is less. While
// samples are delivered, older ones are a backlog and not late. Time in which the
// machine was off does not count.
func (e *evaluation) lateness(ever bool) time.Duration {
	s := e.seen.Snapshot
	if s.Ledger.Pending <= 0 {
		return 0
	}
	waited := e.age("", s.PendingMs, -1)
	if ever {
		since := e.deliveryAge()
		// A sample ahead of the clock does not count: the clock was set back.
		if since < waited || waited == 0 {
			waited = since
		}
	}
	if e.now.Boot > 0 {
		waited = min(waited, e.now.Boot)
	}
	return waited
}

func (e *evaluation) agoMs(d time.Duration) int64 { return e.now.Wall.Add(-d).UnixMilli() }

// why returns the reason for missing deliveries, as far as the shipper's row has one.
func (e *evaluation) why(d status.Shipper) string {
	row := e.rows[status.ShipperRow]
	switch {
	case row.FailingSinceMs != 0 && row.Error != "":
		return "; last error: " + row.Error
	case d.Busy && e.alive(shipper):
		return "; the links are busy, and uploads wait for them"
	case d.HTTPStatus >= 300:
		return fmt.Sprintf("; last answer: HTTP %d", d.HTTPStatus)
	}
	return ""
}

// clock evaluates the wall clock.
func (e *evaluation) clock() {
	d, own := detailOf[status.Skew](e, status.SkewRow), detailOf[status.Clock](e, status.ClockRow)
	t := &e.r.Time
	t.SkewMs, t.SkewErrorMs = d.SkewMs, d.ErrorMs
	if d.SkewMs != nil {
		sure := math.Abs(*d.SkewMs)
		if d.ErrorMs != nil {
			sure -= *d.ErrorMs
		}
		if sure > float64(e.t.SkewMs) {
			way := "ahead of"
			if *d.SkewMs < 0 {
				way = "behind"
			}
			e.add(StatusDegraded, ClockSkew, "time", 0, "this clock is %s %s the server's, limit %s",
				human(time.Duration(math.Abs(*d.SkewMs)*1e6)), way, human(time.Duration(e.t.SkewMs)*time.Millisecond))
		}
	}
	row := e.rows[status.ClockRow]
	if known := e.boots[row.BootID] || e.now.BootID == ""; own.Trusted != nil && known {
		t.NTPSynced, t.Trusted, t.TrustedBy = own.NTP, own.Trusted, own.By
		since := e.age(row.BootID, own.HeldSinceMs, -1)
		if !*own.Trusted && since > clockGrace && e.alive(collector) {
			e.add(StatusDegraded, ClockNotTrusted, "time", own.HeldSinceMs,
				"the clock has not been confirmed for %s by NTP, systemd-timesyncd or the server; %d samples are held until it is",
				human(since), e.seen.Snapshot.Ledger.Held)
		}
	}
	t.Status = e.worstOf(func(component string) bool { return component == "time" })
}
