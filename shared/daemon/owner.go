package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// adopt gives the files beside the database to those who use them.
func (p *Process) adopt() {
	if err := adopt(p.Config.Storage.Path); err != nil {
		p.Log.Warn("files that root made beside the database could not be given to the owner of their directory; "+
			"the daemons may be unable to use them. Run the command as their user: runuser -u metrics", "error", err)
	}
}

// adopt gives files that root made in the directory of the database to the owner
// of that directory, so that commands given as root do not lock the daemons out.
// Those are the database, what is beside it under its name, and the locks. It
// opens nothing, as closing a file would drop the locks that this process has on
// it.
func adopt(database string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, base := filepath.Split(database)
	uid, gid, ok := ownerOf(filepath.Clean(dir), os.Stat)
	if !ok || uid == 0 {
		return nil
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("give files to user %d: %w", uid, err)
	}
	var faults []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) && !strings.HasSuffix(e.Name(), ".lock") || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		// A link to another file is not what root made here.
		if owner, _, one := ownerOf(path, os.Lstat); !one || owner != 0 {
			continue
		}
		if err := os.Lchown(path, uid, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// ownerOf returns the owner and group of what is at path; ok is false if that is
// not known, or if a file has more names than this one.
func ownerOf(path string, stat func(string) (os.FileInfo, error)) (uid, gid int, ok bool) {
	info, err := stat(path)
	if err != nil {
		return 0, 0, false
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() && sys.Nlink != 1 {
		return 0, 0, false
	}
	return int(sys.Uid), int(sys.Gid), true
}
