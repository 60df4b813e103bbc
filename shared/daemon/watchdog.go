package daemon

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// watchEvery is how often the hearts are looked at where systemd does not ask.
const watchEvery = 30 * time.Second

// startLasts is how long after the start its memory is given back: each loop has
// had a round by then.
const startLasts = 50 * time.Second

// leaveStart gives back the memory that only the start needed.
func (p *Process) leaveStart() {
	debug.FreeOSMemory()
	if err := unmapUnused(); err != nil {
		p.Log.Debug("pages of the program stay in memory", "error", err)
	}
}

// startWatch looks at the hearts until the function it returns is called, and
// pings systemd's watchdog as long as all of them beat.
func (p *Process) startWatch() (stop func()) {
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		p.Log.Warn("the watchdog cannot be set up; the daemon continues without it", "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.watch(ctx, limit) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// watch pings at a third of limit, so that one ping may be late or lost. A limit
// of 0 means that systemd has no watchdog; then stuck loops are only logged. See
// sd_watchdog_enabled(3).
func (p *Process) watch(ctx context.Context, limit time.Duration) {
	period := watchEvery
	if limit > 0 {
		period = max(limit/3, time.Millisecond)
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var before []string
	for starting := true; ; {
		if starting && time.Since(p.Started) >= startLasts {
			starting = false
			p.leaveStart()
		}
		stuck := p.Stuck()
		if !slices.Equal(stuck, before) {
			p.logStuck(stuck, before, limit > 0)
		}
		before = stuck
		if limit > 0 && len(stuck) == 0 {
			p.notify(sd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// logStuck logs which loops became stuck and which move again.
func (p *Process) logStuck(now, before []string, watchdog bool) {
	for _, name := range now {
		switch {
		case slices.Contains(before, name):
		case watchdog:
			p.Log.Error("the loop makes no progress; the watchdog is not pinged until it does", "loop", name)
		default:
			p.Log.Error("the loop makes no progress; the daemon waits for it", "loop", name)
		}
	}
	for _, name := range before {
		if !slices.Contains(now, name) {
			p.Log.Info("the loop makes progress again", "loop", name)
		}
	}
	if len(now) > 0 {
		p.notify("STATUS=stuck: " + strings.Join(now, ", "))
	} else {
		p.notify("STATUS=running, version " + p.Version)
	}
}
