package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// live is the file that is written to; all others are complete.
const live = "system.journal"

// maxFiles bounds the files of a directory that are listed; journald keeps 100.
const maxFiles = 1000

// choose opens the next file, or keeps the open one.
func (f *Follower) choose(b Bounds, r *Report, each func(Entry, bool)) error {
	dir, info, err := f.liveFile()
	if f.file != nil {
		h := f.file.header
		if err := f.file.Refresh(); err != nil {
			return err
		}
		now := f.file.header
		if now.seqnumID != h.seqnumID { // another one was written into its place
			f.done = false
			return f.begin(b, r, each)
		}
		switch {
		case err == nil && dir == f.dir && os.SameFile(info, f.file.info) && now.tail >= h.tail:
			f.ended, f.done = false, false
			return nil
		case !f.ended: // it was rotated away: it is finished first
			f.ended, f.done = true, false
			return nil
		case !f.done:
			return nil
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.open(dir); err != nil {
		return err
	}
	f.done = false
	return f.begin(b, r, each)
}

// liveFile finds the file that is written to.
func (f *Follower) liveFile() (dir string, info fs.FileInfo, err error) {
	for _, dir := range f.dirs {
		info, err := os.Stat(filepath.Join(dir, live))
		if err == nil {
			return dir, info, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
	}
	return "", nil, ErrAbsent
}

// open opens the oldest file of the cursor's sequence that has something new,
// or the live one.
func (f *Follower) open(dir string) error {
	// The journal of another directory is a new one.
	next, err := Open(filepath.Join(dir, live), f.want)
	if err != nil {
		return err
	}
	ended := false
	if f.at != (Cursor{}) {
		older, err := f.oldest(dir, next)
		if err != nil {
			return errors.Join(err, next.Close())
		}
		if older != nil {
			if err := next.Close(); err != nil {
				return errors.Join(err, older.Close())
			}
			next, ended = older, true
		}
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, next.Close())
	}
	f.file, f.dir, f.ended = next, dir, ended
	return nil
}

// oldest opens the complete file that continues after the cursor; nil if there is none.
func (f *Follower) oldest(dir string, current *File) (*File, error) {
	names, err := endedFiles(dir, f.at.SeqnumID)
	if err != nil {
		return nil, err
	}
	var best *File
	for _, name := range names {
		j, err := Open(filepath.Join(dir, name), f.want)
		if err != nil {
			continue // vacuumed meanwhile, or damaged, as files ended by a power cut may be
		}
		h := j.header
		if h.seqnumID == f.at.SeqnumID && h.entries > 0 && h.tail > f.at.Seqnum && !os.SameFile(j.info, current.info) &&
			(best == nil || h.head < best.header.head) {
			j, best = best, j
		}
		if j != nil {
			if err := j.Close(); err != nil {
				return best, err
			}
		}
	}
	return best, nil
}

// endedFiles lists the complete files that may belong to a sequence: files that were
// rotated have it in their names, files that a power cut ended do not.
func endedFiles(dir string, id ID) (names []string, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	all, err := d.Readdirnames(maxFiles)
	if err := errors.Join(ignoreEOF(err), d.Close()); err != nil {
		return nil, err
	}
	for _, name := range all {
		if strings.HasPrefix(name, "system@"+id.String()+"-") || strings.HasPrefix(name, "system@") && strings.HasSuffix(name, ".journal~") {
			names = append(names, name)
		}
	}
	return names, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
