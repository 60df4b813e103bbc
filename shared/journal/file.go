// Package journal reads the files of systemd's journal, and follows the one that
// is being written over its rotations.
//
// The rules here: a file is read with pread and never mapped, because a file that
// shrinks under a map ends the process; a file may be damaged, so every offset,
// size and count is checked and every loop is bounded; hashes are not used, and
// compressed values are counted instead of unpacked. Start at Follower; File is one
// file.
package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	// windowBytes is how much is read at once: an entry and its new values are usually
	// next to each other.
	windowBytes = 64 << 10
	// peekBytes is how much is read at once of an older value.
	peekBytes = 512
	// maxValue bounds the values that are returned, maxItems those of an entry.
	maxValue = 32 << 10
	maxItems = 1024
	// maxKnown bounds the values that are remembered.
	maxKnown = 2048
	// maxOffset is beyond every file; sums below it do not overflow.
	maxOffset = 1 << 48
)

// A Selection says which entries and which of their fields are wanted.
type Selection struct {
	Any    []string // NAME=value: an entry that has one of these is wanted; none: every entry
	Fields []string // names of the fields that are returned; none: all
}

// An Entry is one line of the log with its fields.
type Entry struct {
	Seqnum    uint64
	Realtime  uint64 // microseconds of the wall clock
	Monotonic uint64 // microseconds of CLOCK_MONOTONIC of its boot
	BootID    ID
	Fields    []Field
}

// A Field is a name and a value. A name may come more than once.
type Field struct{ Name, Value string }

// Get returns the first value of a field, "" where there is none.
func (e *Entry) Get(name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Skipped counts entries and values that were skipped.
type Skipped struct {
	Compressed int // values that are compressed
	Long       int // values beyond maxValue
	Damaged    int // entries, or values of one, that make no sense
}

// A File is one journal file, open for reading. It is owned by one goroutine.
type File struct {
	Skipped Skipped

	f      *os.File
	info   fs.FileInfo
	header header
	any    map[string]bool
	fields map[string]bool

	window []byte // of the file, from windowAt on
	at     uint64 // of the window
	buf    []byte // the window's
	peek   []byte // a part before the window, from peekAt on
	peekAt uint64
	known  map[uint64]value
	next   place
	passed
}

// passed is what a File remembers of the entries that it has read.
type passed struct {
	boot ID     // of the last entry that was read
	last uint64 // the greatest sequence number that was passed
}

// A place is the position of the next entry in the chain of entry arrays.
type place struct {
	array uint64 // offset; 0: at the beginning
	index uint64 // within the array
	items uint64 // that the array has room for; 0: not known yet
	seen  uint64 // entries before it
}

// Open opens a file and reads its header. A missing file is an fs.ErrNotExist.
// It fails, without waiting, if it is not a regular file.
func Open(path string, s Selection) (_ *File, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", path, ErrNotJournal)
	}
	j := &File{f: f, info: info, any: set(s.Any), fields: set(s.Fields), known: map[uint64]value{}}
	if err := j.Refresh(); err != nil {
		return nil, err
	}
	return j, nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// Close closes the file.
func (j *File) Close() error { return j.f.Close() }

// SeqnumID names the sequence of the file's numbers.
func (j *File) SeqnumID() ID { return j.header.seqnumID }

// Refresh reads the header again and drops what was read before, because the file may have
// grown or been replaced.
func (j *File) Refresh() error {
	var b [headerBytes]byte
	n, err := j.f.ReadAt(b[:], 0)
	if n < len(b) {
		if !errors.Is(err, io.EOF) {
			return err
		}
		return fmt.Errorf("read %s: %w: %d bytes", j.f.Name(), ErrNotJournal, n)
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return fmt.Errorf("read %s: %w", j.f.Name(), err)
	}
	if h.seqnumID != j.header.seqnumID || h.entries < j.header.entries || h.compact != j.header.compact {
		j.next, j.last = place{}, 0
		clear(j.known)
	}
	if h.tail != j.header.tail || h.entries != j.header.entries {
		j.window, j.peek = nil, j.peek[:0]
	}
	j.header = h
	return nil
}
