package ship

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// maxDrift is how fast two clocks may drift apart: the kernel may slew a clock by 500
// parts in a million (adjtimex(2)).
const maxDrift = 500e-6

// A clock bounds the difference between this clock and a server's, local minus
// server, from the Date of its answers. A Date is cut to the second, so a single one
// says little. Each further one narrows the bounds, because the server's second
// begins at another point between the request and its answer.
type clock struct {
	mu        sync.Mutex
	known     bool
	low, high float64 // milliseconds
	at        time.Time
	host      string
}

// A skew is the local clock minus the server's, within ±Error.
type skew struct {
	Ms    float64
	Error float64
	Host  string // that answered
}

// observe uses the Date of one answer, unless the answer comes from a cache.
func (c *clock) observe(a answer, host string) {
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil || a.header.Get("Age") != "" {
		return
	}
	if a.server != "" {
		host = a.server
	}
	sent := ms(a.begun)
	low := sent - ms(date) - 1000
	high := sent + float64(a.headerTook)/1e6 - ms(date)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known && c.host == host {
		// The bounds move along when this clock is set, and widen as they age.
		passed := a.begun.Sub(c.at)
		step := a.begun.Round(0).Sub(c.at.Round(0)) - passed
		drift := maxDrift * math.Abs(float64(passed)/1e6)
		oldLow, oldHigh := c.low+float64(step)/1e6-drift, c.high+float64(step)/1e6+drift
		if oldLow <= high && low <= oldHigh {
			low, high = max(low, oldLow), min(high, oldHigh)
		} // else the server's clock was set, and the old bounds do not count
	}
	c.known, c.low, c.high, c.at, c.host = true, low, high, a.begun, host
}

// observedSince says whether the estimate has an answer to a request that was
// made at begun or later.
func (c *clock) observedSince(begun time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known && !c.at.Before(begun)
}

// skew returns the present estimate.
func (c *clock) skew() (s skew, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return skew{Ms: c.middle(), Error: math.Ceil((c.high - c.low) / 2), Host: c.host}, c.known
}

// middle is the best estimate, in whole milliseconds.
func (c *clock) middle() float64 { return math.Round((c.low + c.high) / 2) }

func ms(t time.Time) float64 { return float64(t.UnixMicro()) / 1e3 }

// A skewCheck asks a server for the time. It is owned by one goroutine.
type skewCheck struct {
	client    *client
	url       *url.URL
	limit     float64 // milliseconds
	component *status.Component
	every     time.Duration
	failed    int // checks in a row

	beyond bool // the last estimate was beyond the limit
	logged bool // an estimate was logged
}

// newSkewCheck prepares CheckSkew. A page of another host has a client of its own,
// because its connections say nothing about the server.
func newSkewCheck(c *client, cfg config.Config, d status.Daemon, rows []status.Row) (skewCheck, error) {
	k := skewCheck{
		client: c, every: cfg.Monitoring.ClockSkewCheckInterval, limit: float64(cfg.Monitoring.ClockSkewWarnThresholdMs),
		component: component(d, status.SkewRow, cfg.Monitoring.ClockSkewCheckInterval, rows),
	}
	var err error
	if k.url, err = cfg.ClockURL(); err != nil {
		return k, err
	}
	if k.url.Host != c.url.Host {
		k.client, err = newClient(cfg, d.Version)
	}
	return k, err
}

// CheckSkew asks a server for the time, see Config.ClockURL, and writes the status of
// the clock. Next is when to ask again: soon after a failure, because a board without
// another source of time needs the answer. It may run beside Round.
func (s *Shipper) CheckSkew(ctx context.Context) (next time.Duration, err error) {
	k := &s.clocks.check
	if !s.cfg.Enabled {
		return k.every, nil
	}
	header := http.Header{"User-Agent": {s.client.userAgent}}
	a, fault := k.client.do(ctx, http.MethodGet, k.url, header, nil)
	if fault == nil && (a.status < 200 || a.status > 299) {
		fault = fmt.Errorf("HTTP %d", a.status)
	}
	if fault == nil && !identified(a) {
		a, fault = s.identify(ctx, a)
	}
	if fault == nil {
		if _, err := http.ParseTime(a.header.Get("Date")); err != nil {
			fault = fmt.Errorf("the answer has no Date: %w", err)
		}
	}
	now, err := store.Now()
	if err != nil {
		return k.every, err
	}
	next = k.every
	if fault == nil {
		s.clocks.probe.observe(a, k.url.Host)
		k.component.Succeed(now, 1)
		k.failed = 0
	} else {
		fault = fmt.Errorf("ask %s for the time: %w", k.url.Host, fault)
		k.component.Fail(now, fault, 1)
		next = max(min(k.every, s.cfg.UploadInterval<<min(k.failed, 16)), retryAfter(a.header))
		k.failed++
	}
	if at, known := s.anySkew(); known {
		k.component.SetDetail(status.Skew{SkewMs: &at.Ms, ErrorMs: &at.Error, Host: at.Host})
		s.logSkew(at)
	}
	if _, err := s.db.Record(context.WithoutCancel(ctx), store.Update{Status: []status.Row{k.component.Row()}}); err != nil {
		return k.every, fmt.Errorf("write the status of the clock: %w", err)
	}
	return next, fault
}

// identify sends the probe to the endpoint of the uploads, after an answer that a
// captive portal may have given. The answer to the probe has a Date of its own.
func (s *Shipper) identify(ctx context.Context, a answer) (answer, error) {
	k := &s.clocks.check
	page := fmt.Errorf("HTTP %d%s: not known to be a metrics server's answer, so its Date is not used", a.status,
		quoted(k.client.creds.excerpt(a.body)))
	if k.client != s.client || k.client.endpoint.standingOf(a) == nameless {
		return a, page
	}
	own, refused, err := k.client.probe(ctx)
	if err != nil || !refused {
		return a, errors.Join(page, err)
	}
	return own, nil
}

// logSkew logs the first estimate, and each time that the limit is crossed.
func (s *Shipper) logSkew(at skew) {
	k := &s.clocks.check
	beyond := math.Abs(at.Ms)-at.Error > k.limit
	attrs := []any{"skew_ms", at.Ms, "error_ms", at.Error, "host", at.Host}
	switch {
	case beyond && !k.beyond:
		s.log.Warn("the clock and the server's clock differ; samples are sent with their present times", attrs...)
	case !beyond && (k.beyond || !k.logged):
		s.log.Info("clock compared with the server's", attrs...)
	}
	k.beyond, k.logged = beyond, true
}

// anySkew is the estimate from clock_skew_url, or the one from the uploads while there
// is no recent one.
func (s *Shipper) anySkew() (at skew, known bool) {
	at, known = s.clocks.probe.skew()
	if uploads, too := s.clocks.uploads.skew(); too && (!known || s.clocks.probe.age() > 2*s.clocks.check.every) {
		return uploads, true
	}
	return at, known
}

// age is how long ago the last answer came.
func (c *clock) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.at)
}

// skewSample is the skew as a self-metric, if it is known.
func (s *Shipper) skewSample(atMs int64) []metric.Sample {
	at, known := s.anySkew()
	if !known {
		return nil
	}
	return []metric.Sample{{Name: "time.skew_ms", TimeMs: atMs, Value: at.Ms}}
}

// now is the server's time, timeUnknown while it is not known. Setting this clock does
// not change it.
func (c *clock) now() (unixMs int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return timeUnknown
	}
	return c.at.UnixMilli() - int64(c.middle()) + time.Since(c.at).Milliseconds()
}

// serverMs is the time of the server that the samples are sent to.
func (s *Shipper) serverMs() int64 { return s.clocks.uploads.now() }
