package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// use is what processes have used since they began, but for the memory, which is
// of now.
type use struct {
	cpu             time.Duration // process CPU clock
	switches        int64         // of context, wanted or not
	written         int64         // bytes, to files and connections
	anon, file, pss int64         // KiB resident
}

func (u use) plus(o use) use {
	return use{u.cpu + o.cpu, u.switches + o.switches, u.written + o.written, u.anon + o.anon, u.file + o.file, u.pss + o.pss}
}

// since is what was used after an earlier look.
func (u use) since(o use) use {
	return use{u.cpu - o.cpu, u.switches - o.switches, u.written - o.written, u.anon, u.file, u.pss}
}

func useOf(pid int) (u use, err error) {
	var at unix.Timespec
	// clock_getcpuclockid(3): the clock of a process is its pid's complement.
	if err := unix.ClockGettime(int32(^pid<<3|2), &at); err != nil {
		return u, fmt.Errorf("CPU clock of %d: %w", pid, err)
	}
	u.cpu = time.Duration(at.Nano())
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return u, err
	}
	for _, t := range threads {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // it has ended
		}
		u.switches += number(text, "voluntary_ctxt_switches") + number(text, "nonvoluntary_ctxt_switches")
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return u, err
	}
	u.written = number(io, "wchar")
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return u, err
	}
	u.anon, u.pss = number(smaps, "Anonymous"), number(smaps, "Pss")
	u.file = number(smaps, "Rss") - u.anon
	return u, nil
}

// number is the first number of the line that begins with a key.
func number(text []byte, key string) int64 {
	m := regexp.MustCompile(`(?m)^` + key + `:\s+(\d+)`).FindSubmatch(bytes.TrimSpace(text))
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n
}

// startSlack starts a program with TimerSlackNSec= of the packaged units. A process has
// the timer slack of the thread that started it, prctl(2).
func startSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the timer slack: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(5*time.Millisecond), 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	return errors.Join(cmd.Start(), unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0))
}
