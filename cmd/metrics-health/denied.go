package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/health"
)

// denied says whether the user may not read the database, or cannot even see whether there
// is one.
func denied(c config.Config, r health.Report) bool {
	if os.Geteuid() == 0 {
		return false
	}
	for _, reason := range r.Reasons {
		if reason.Code == health.DatabaseDenied {
			return true
		}
	}
	_, err := os.Stat(c.Storage.Path)
	return errors.Is(err, fs.ErrPermission)
}

func deniedText(c config.Config) string {
	return fmt.Sprintf("the database %s cannot be read by user %d; run as root or as a member of group metrics",
		c.Storage.Path, os.Geteuid())
}
