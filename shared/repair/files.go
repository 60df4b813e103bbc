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

// The names of files beside the database during a repair. The new file is written
// under the unfinished name. When it is complete and synced it gets the salvaged
// name, then the damaged file is renamed, and then the new file gets the name of the
// database. After a power cut the next start continues from there.
const (
	unfinishedSuffix = ".salvage"
	salvagedSuffix   = ".salvaged"
	keptInfix        = ".damaged-"
	// maxKept bounds the damaged files that are kept.
	maxKept = 3
)

// parts are the files of one database.
var parts = [...]string{"", "-wal", "-shm", "-journal"}

// keptName is the name under which a damaged database is kept.
func keptName(path string, at time.Time) string {
	return path + keptInfix + at.UTC().Format("20060102T150405.000Z")
}

// keepDamaged renames the existing parts of a database.
func keepDamaged(path, kept string, parts ...string) error {
	for _, part := range parts {
		err := os.Rename(path+part, kept+part)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep the damaged database: %w", err)
		}
	}
	return syncDir(path)
}

// repairUnderWay says whether the collector is writing a new file for the database.
func repairUnderWay(path string) bool {
	for _, suffix := range []string{unfinishedSuffix, salvagedSuffix} {
		if _, err := os.Lstat(path + suffix); err == nil {
			return true
		}
	}
	return false
}

// installSalvaged renames a salvaged file to the database's path, if there is one. A
// file at the path that is not empty has priority: it was not renamed yet, and will
// be salvaged again. The salvaged file is then kept.
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
	// SQLite would use a WAL of another file for the new one.
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

// syncAndRename syncs a new file and gives it the name whole.
func syncAndRename(part, whole string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("complete the new database: %w", err)
	}
	if err := errors.Join(f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("complete the new database: %w", err)
	}
	if err := os.Rename(part, whole); err != nil {
		return fmt.Errorf("complete the new database: %w", err)
	}
	return syncDir(whole)
}

// removeAll deletes an unfinished file and the files beside it, or the given parts
// of it.
func removeAll(path string, of ...string) error {
	if len(of) == 0 {
		of = parts[:]
	}
	for _, part := range of {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete an unfinished file: %w", err)
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

// Kept returns the damaged files that are kept, the oldest first, without the files
// beside them.
func Kept(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list the damaged files: %w", err)
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

// TrimKept deletes the oldest of the kept damaged files until keep are left, and
// returns how many it deleted. The database is opened first: opening it does not
// depend on this.
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
