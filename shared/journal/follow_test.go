package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/journal/journaltest"
)

// base is the time of the first entry of export.
var base = time.UnixMicro(1_795_430_284_000_000)

// poll gives the lines that are new, and those that were there before.
func poll(t *testing.T, f *Follower, b Bounds) (lines, past []string, r Report) {
	t.Helper()
	if b.Entries == 0 {
		b.Entries = 2000
	}
	r, err := f.Poll(b, func(e Entry, old bool) {
		if line := strings.TrimPrefix(e.Get("MESSAGE"), "line "); old {
			past = append(past, line)
		} else {
			lines = append(lines, line)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, past, r
}

func want(t *testing.T, got []string, from, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d lines, want %d: %.200v", len(got), n, got)
	}
	for i, line := range got {
		if line != strconv.Itoa(from+i) {
			t.Fatalf("line %d is %s, want %d", i, line, from+i)
		}
	}
}

func TestTheFirstPollStartsAtTheEndAndReportsTheRecentPast(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(100, 1))
	f := Follow([]string{filepath.Join(dir, "none"), dir}, Selection{}, Cursor{})
	defer f.Close()
	lines, past, r := poll(t, f, Bounds{Recent: base.Add(91 * time.Millisecond)})
	want(t, lines, 0, 0)
	want(t, past, 91, 10)
	if r != (Report{}) {
		t.Errorf("report %+v", r)
	}
	lines, past, _ = poll(t, f, Bounds{})
	want(t, append(lines, past...), 0, 0)
	journaltest.Write(t, filepath.Join(dir, live), export(5, 101))
	lines, _, _ = poll(t, f, Bounds{})
	want(t, lines, 101, 5)
}

func TestOfAVeryLongJournalTheLastEntriesAreRead(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(100, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	lines, past, _ := poll(t, f, Bounds{Recent: base, Entries: 7})
	want(t, lines, 0, 0)
	want(t, past, 94, 7)
}

func TestACursorContinuesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(10, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	poll(t, f, Bounds{})
	at := f.Cursor()
	f.Close()
	journaltest.Write(t, filepath.Join(dir, live), export(3000, 11))
	for range 2 { // the same again: nothing but the cursor is remembered
		f = Follow([]string{dir}, Selection{}, at)
		first, _, r := poll(t, f, Bounds{})
		if !r.More {
			t.Error("there is more, and the report does not say so")
		}
		second, _, r := poll(t, f, Bounds{})
		if r.More {
			t.Error("there is no more, and the report says so")
		}
		want(t, append(first, second...), 11, 3000)
		f.Close()
	}
}

// rotate ends the live file as journald does, and begins another one whose numbers
// go on: systemd-journal-remote does so at a size only.
func rotate(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, live)
	j, err := Open(path, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := os.Rename(path, filepath.Join(dir, fmt.Sprintf("system@%s-%016x-%016x.journal", j.SeqnumID(), j.header.head, 0))); err != nil {
		t.Fatal(err)
	}
}

// goOn makes a live file of n lines whose numbers follow those of the given one.
func goOn(t *testing.T, dir string, id ID, after uint64, n, from int) {
	t.Helper()
	path := filepath.Join(dir, live)
	made := filepath.Join(t.TempDir(), "new.journal")
	journaltest.Write(t, made, export(n, from))
	renumber(t, made, id, after)
	if err := os.Rename(made, path); err != nil {
		t.Fatal(err)
	}
}

// renumber gives the entries of a file other numbers.
func renumber(t *testing.T, path string, id ID, after uint64) {
	t.Helper()
	j, err := Open(path, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	put := func(v uint64, at int64) {
		b := make([]byte, 8)
		for i := range b {
			b[i] = byte(v >> (8 * i))
		}
		if _, err := out.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	for n := after + 1; ; n++ {
		at, err := j.step()
		if err != nil {
			break
		}
		put(n, int64(at)+16)
		put(n, 160)
	}
	put(after+1, 168)
	if _, err := out.WriteAt(id[:], 72); err != nil {
		t.Fatal(err)
	}
}

func TestRotationsLoseAndDoubleNothing(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(100, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	poll(t, f, Bounds{})
	id := f.Cursor().SeqnumID
	journaltest.Write(t, filepath.Join(dir, live), export(50, 101)) // not seen before the rotation
	rotate(t, dir)
	goOn(t, dir, id, 150, 60, 151) // ended before it was seen at all
	rotate(t, dir)
	goOn(t, dir, id, 210, 70, 211)
	var all []string
	for range 10 {
		lines, _, r := poll(t, f, Bounds{Entries: 33})
		all = append(all, lines...)
		if r.Vanished != 0 || r.Restarts != 0 {
			t.Errorf("report %+v", r)
		}
	}
	want(t, all, 101, 180)
}

func TestAFileRemovedWhileItIsReadIsFinished(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(1, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	poll(t, f, Bounds{})
	id := f.Cursor().SeqnumID
	journaltest.Write(t, filepath.Join(dir, live), export(99, 2))
	lines, _, _ := poll(t, f, Bounds{Entries: 10})
	if err := os.Remove(filepath.Join(dir, live)); err != nil { // rotated and vacuumed
		t.Fatal(err)
	}
	goOn(t, dir, id, 120, 5, 121)
	var vanished uint64
	for range 12 {
		more, _, r := poll(t, f, Bounds{Entries: 10})
		lines = append(lines, more...)
		vanished += r.Vanished
	}
	want(t, lines[:99], 2, 99)
	want(t, lines[99:], 121, 5)
	if vanished != 20 {
		t.Errorf("%d numbers vanished, want 20", vanished)
	}
}

// TestAHoleBeforeAFileThatBeginsEmptyIsCounted: the file that comes next may be
// seen before its first entry is.
func TestAHoleBeforeAFileThatBeginsEmptyIsCounted(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(10, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	poll(t, f, Bounds{})
	id := f.Cursor().SeqnumID
	if err := os.Remove(filepath.Join(dir, live)); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole.journal")
	journaltest.Write(t, whole, export(5, 31))
	renumber(t, whole, id, 30)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	empty := append([]byte(nil), b...)
	clear(empty[152:176]) // entries, tail, head
	if err := os.WriteFile(filepath.Join(dir, live), empty, 0o600); err != nil {
		t.Fatal(err)
	}
	lines, _, r := poll(t, f, Bounds{})
	if len(lines) != 0 || r.Vanished != 0 {
		t.Errorf("%v, %+v", lines, r)
	}
	out, err := os.OpenFile(filepath.Join(dir, live), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteAt(b[:272], 0); err != nil {
		t.Fatal(err)
	}
	out.Close()
	lines, _, r = poll(t, f, Bounds{})
	want(t, lines, 31, 5)
	if r.Vanished != 20 {
		t.Errorf("%d numbers vanished, want 20", r.Vanished)
	}
}

func TestAnotherJournalBeginsAtItsEndAndIsCounted(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(10, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	poll(t, f, Bounds{})
	journaltest.Write(t, filepath.Join(dir, live), export(2, 11))
	// As after a power cut: the old file is renamed to a name without numbers.
	if err := os.Rename(filepath.Join(dir, live), filepath.Join(dir, "system@0005f-ab.journal~")); err != nil {
		t.Fatal(err)
	}
	journaltest.Write(t, filepath.Join(dir, live), export(7, 1001))
	at := f.Cursor()
	for _, again := range []*Follower{f, Follow([]string{dir}, Selection{}, at)} {
		lines, past, r := poll(t, again, Bounds{Recent: base.Add(1006 * time.Millisecond)})
		want(t, lines, 11, 2)
		want(t, past, 1006, 2)
		if r.Restarts != 1 || r.Vanished != 0 {
			t.Errorf("report %+v, want one restart", r)
		}
		again.Close()
	}
}

func TestOldEntriesAreSkippedAndCounted(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, filepath.Join(dir, live), export(1, 1))
	f := Follow([]string{dir}, Selection{}, Cursor{})
	poll(t, f, Bounds{})
	at := f.Cursor()
	f.Close()
	journaltest.Write(t, filepath.Join(dir, live), export(100, 2))
	f = Follow([]string{dir}, Selection{}, at)
	defer f.Close()
	lines, _, r := poll(t, f, Bounds{Since: base.Add(92 * time.Millisecond)})
	want(t, lines, 92, 10)
	if r.Old != 90 {
		t.Errorf("%d old, want 90", r.Old)
	}
	f.Close()
	f = Follow([]string{dir}, Selection{}, at)
	_, _, r = poll(t, f, Bounds{Since: base.Add(time.Hour)})
	if r.Old != 100 || f.Cursor().Seqnum != 101 {
		t.Errorf("%d old, at %+v", r.Old, f.Cursor())
	}
}

func TestWithoutAJournalItIsAbsentAndLookedForAgain(t *testing.T) {
	dir := t.TempDir()
	f := Follow([]string{dir}, Selection{}, Cursor{})
	defer f.Close()
	absent := func() {
		t.Helper()
		if _, err := f.Poll(Bounds{Entries: 10}, func(Entry, bool) { t.Error("an entry") }); !errors.Is(err, ErrAbsent) {
			t.Errorf("got %v, want ErrAbsent", err)
		}
	}
	absent()
	journaltest.Write(t, filepath.Join(dir, live), export(3, 1))
	poll(t, f, Bounds{})
	if err := os.Remove(filepath.Join(dir, live)); err != nil {
		t.Fatal(err)
	}
	absent()
	absent()
}

func TestADirectoryThatMayNotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("system.journal", filepath.Join(dir, live)); err != nil { // root reads everything else
		t.Fatal(err)
	}
	f := Follow([]string{dir}, Selection{}, Cursor{})
	if _, err := f.Poll(Bounds{Entries: 10}, nil); err == nil || errors.Is(err, ErrAbsent) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Each way in which a file can break while it is read: the reader goes on, fails
// where something is lost, and is whole again with the next file.
func TestAFileThatBreaksWhileItIsReadIsOnlyAnError(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	size := int64(8 << 20)
	for name, breakIt := range map[string]func(path string) error{
		"cut to nothing":   func(path string) error { return os.Truncate(path, 0) },
		"cut in the head":  func(path string) error { return os.Truncate(path, 100) },
		"cut short":        func(path string) error { return os.Truncate(path, size/100) },
		"noise everywhere": func(path string) error { return fill(path, 0, size) },
		"noise after head": func(path string) error { return fill(path, 272, size) },
		"zeroes":           func(path string) error { return errors.Join(os.Truncate(path, 272), os.Truncate(path, size)) },
		"replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("hello"), 0o600))
		},
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, live)
			journaltest.Write(t, path, export(1, 1))
			f := Follow([]string{dir}, Selection{}, Cursor{})
			defer f.Close()
			poll(t, f, Bounds{})
			journaltest.Write(t, path, export(2000, 2))
			poll(t, f, Bounds{Entries: 100})
			if err := breakIt(path); err != nil {
				t.Fatal(err)
			}
			failed, damaged := 0, 0
			for range 30 {
				r, err := f.Poll(Bounds{Entries: 100}, func(Entry, bool) {})
				if err != nil {
					failed++
				}
				damaged += r.Skipped.Damaged
			}
			if failed+damaged == 0 {
				t.Error("nobody was told")
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			journaltest.Write(t, path, export(3, 5001))
			for range 3 {
				_, _ = f.Poll(Bounds{Entries: 100}, func(Entry, bool) {})
			}
			journaltest.Write(t, path, export(4, 5004))
			lines, _, _ := poll(t, f, Bounds{})
			want(t, lines, 5004, 4)
		})
	}
}

// fill writes bytes without order.
func fill(path string, from, to int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	b := make([]byte, to-from)
	x := uint32(12345)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	_, err = f.WriteAt(b, from)
	return errors.Join(err, f.Close())
}

func BenchmarkEntriesOfAFlood(b *testing.B) {
	dir := b.TempDir()
	journaltest.Write(b, filepath.Join(dir, live), export(20000, 1))
	s := Selection{Any: []string{"_TRANSPORT=kernel"}, Fields: []string{"MESSAGE"}}
	id := Cursor{}
	{
		j, err := Open(filepath.Join(dir, live), s)
		if err != nil {
			b.Fatal(err)
		}
		id.SeqnumID = j.SeqnumID()
		j.Close()
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f := Follow([]string{dir}, s, Cursor{id.SeqnumID, 1})
		for more := true; more; {
			r, err := f.Poll(Bounds{Entries: 2000}, func(Entry, bool) {})
			if err != nil {
				b.Fatal(err)
			}
			more = r.More
		}
		n += 20000
		f.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/entry")
}
