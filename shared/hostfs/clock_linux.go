package hostfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ClockSynchronised says whether the kernel believes that a time daemon keeps
// the wall clock right. It only reads: the mode is 0. A sandbox may forbid even
// that (ProtectClock= of systemd.exec(5)); then it is an error.
// Source: adjtimex(2), whose state is TIME_ERROR while STA_UNSYNC is set.
func ClockSynchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
