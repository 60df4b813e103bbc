package repair

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of files beside the database while it is repaired. What is salvaged
// grows in the unfinished file, which counts for nothing; once it is whole and
// on the disk it gets the second name, and then takes the place of the damaged
// one. Whenever the power goes, the next start goes on from there.
const (
	unfinishedSuffix = ".salvage"
	salvagedSuffix   = ".salvaged"
	keptInfix        = ".damaged-"
	// maxKept bounds the damaged files that are kept for people to look at.
	maxKept = 3
)

// parts are the files of one database.
var parts = [...]string{"", "-wal", "-shm", "-journal"}

// keptName is the name under which a damaged database is kept.
func keptName(path string, at time.Time) string {
	return path + keptInfix + at.UTC().Format("20060102T150405.000Z")
}

// keepDamaged renames the parts of a database that are there.
func keepDamaged(path, kept string, parts ...string) error {
	for _, part := range parts {
		err := os.Rename(path+part, kept+part)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep the damaged database: %w", err)
		}
	}
	return syncDir(path)
}

// repairUnderWay says whether the collector is about to put another file in place.
func repairUnderWay(path string) bool {
	for _, suffix := range []string{unfinishedSuffix, salvagedSuffix} {
		if _, err := os.Lstat(path + suffix); err == nil {
			return true
		}
	}
	return false
}

// installSalvaged puts a salvaged file in place, if there is one. A file that is
// at the path comes before it, unless it is empty: it was not kept under another
// name yet, and is salvaged again. The other is kept all the same.
func (o *Owner) installSalvaged() error {
	if err := removeAll(o.path + unfinishedSuffix); err != nil {
		return err
	}
	whole := o.path + salvagedSuffix
	if _, err := os.Stat(whole); err != nil {
		return nil //nolint:nilerr // there is none
	}
	if info, err := os.Lstat(o.path); err == nil && (!info.Mode().IsRegular() || info.Size() > 0 || hasPages(o.path+"-wal")) {
		kept := keptName(o.path, time.Now())
		o.behind.pending, o.behind.rescued = o.behind.pending+o.behind.rescued, 0
		o.log.Warn("a salvaged database is not needed, because there is one at the path; it is kept", "database", o.path, "kept", kept)
		if err := os.Rename(whole, kept); err != nil {
			return fmt.Errorf("keep the salvaged database: %w", err)
		}
		return syncDir(o.path)
	}
	// A WAL without its file would be taken for that of the new one.
	if err := keepDamaged(o.path, keptName(o.path, time.Now()), "-wal", "-shm", "-journal"); err != nil {
		return err
	}
	o.behind.rescued = 0
	if err := os.Rename(whole, o.path); err != nil {
		return fmt.Errorf("put the salvaged database in place: %w", err)
	}
	return syncDir(o.path)
}

func hasPages(wal string) bool {
	info, err := os.Stat(wal)
	return err == nil && info.Size() > 0
}

// syncAndRename makes sure that a new file is on the disk and names it whole.
func syncAndRename(part, whole string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("finish the new database: %w", err)
	}
	if err := errors.Join(f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("finish the new database: %w", err)
	}
	if err := os.Rename(part, whole); err != nil {
		return fmt.Errorf("finish the new database: %w", err)
	}
	return syncDir(whole)
}

// removeAll removes a file of our own making and its companions, or the given
// ones of them.
func removeAll(path string, of ...string) error {
	if len(of) == 0 {
		of = parts[:]
	}
	for _, part := range of {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an unfinished file: %w", err)
		}
	}
	return nil
}

// syncDir makes the names in the directory of path durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	return nil
}

// Kept returns the damaged files that are kept, the oldest first, each
// without its companions.
func Kept(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("look for damaged files: %w", err)
	}
	prefix := filepath.Base(path) + keptInfix
	found := map[string]bool{}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok {
			stamp, _, _ := strings.Cut(rest, "-")
			found[filepath.Join(filepath.Dir(path), prefix+stamp)] = true
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, nil
}

// TrimKept removes the oldest damaged files that are kept, down to keep of them,
// and returns how many. It comes after the database is open again: a start must
// not need it.
func (o *Owner) TrimKept(keep int) (removed int, err error) {
	names, err := Kept(o.path)
	for ; err == nil && len(names) > keep; names = names[1:] {
		o.log.Warn("an old kept database is deleted, because there are newer ones", "file", names[0], "kept", keep)
		if err = removeAll(names[0]); err == nil {
			removed++
		}
	}
	return removed, err
}
