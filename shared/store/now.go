package store

import (
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
)

// Now reads both clocks, as status rows need them.
func Now() (status.Moment, error) {
	boot, err := hostfs.BootTime()
	if err != nil {
		return status.Moment{}, fmt.Errorf("read the boot clock: %w", err)
	}
	return status.Moment{Wall: time.Now(), Boot: boot}, nil
}
