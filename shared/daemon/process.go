package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
)

// Process is what Run and the commands are given.
type Process struct {
	Config         config.Config
	ConfigPath     string // "": config.DefaultPath, which may be absent
	Log            *slog.Logger
	Name, Version  string
	Args           []string // of a command that takes them
	Started        time.Time
	Stdout, Stderr io.Writer

	// LoopLimit is how long one run of a loop may last before the loop counts
	// as stuck; 0 means 2 minutes. LoopLimits has the limits of single loops by
	// name. Set them before the loops start.
	LoopLimit  time.Duration
	LoopLimits map[string]time.Duration

	lock *lock
	watched
	unit
}

// watched is the loops whose progress the watchdog checks.
type watched struct {
	mu     sync.Mutex
	hearts []*heart
}

// unit is the process as a unit of systemd.
type unit struct {
	notifyFailed sync.Once // a message to systemd could not be sent
	ready        atomic.Bool
}

// Identity names this process in the status rows that it writes.
func (p *Process) Identity() status.Daemon {
	boot := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}.Identity()["boot_id"]
	return status.Daemon{Name: p.Name, Version: p.Version, BootID: boot, Started: p.Started}
}

// Ready tells systemd that the daemon is up. Call it once what the daemon
// stands on is open and its loops are about to run.
func (p *Process) Ready() {
	p.ready.Store(true)
	p.notify(sd.SdNotifyReady + "\nSTATUS=running, version " + p.Version)
	p.Log.Info("ready", "start_ms", time.Since(p.Started).Milliseconds())
}

// notify sends a message to systemd, if it is there. See sd_notify(3).
func (p *Process) notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		p.notifyFailed.Do(func() {
			p.Log.Warn("systemd could not be notified; the daemon continues without it", "error", fmt.Errorf("sd_notify: %w", err))
		})
	}
}
