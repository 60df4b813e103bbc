package hostfs

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheKernelReportsWhetherTheClockIsSynchronized(t *testing.T) {
	got, err := ClockSynchronised()
	if err != nil {
		t.Skip("reading the clock's state is not allowed here:", err)
	}
	var state unix.Timex
	if _, err := unix.Adjtimex(&state); err != nil {
		t.Fatal(err)
	}
	if want := state.Status&unix.STA_UNSYNC == 0; got != want {
		t.Errorf("%v, the status is %#x", got, state.Status)
	}
}
