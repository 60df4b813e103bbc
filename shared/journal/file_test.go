package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/journal/journaltest"
)

// readAll returns every entry that is wanted.
func readAll(t testing.TB, path string, s Selection) (all []Entry, skipped Skipped) {
	t.Helper()
	j, err := Open(path, s)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for {
		e, _, err := j.Next(1 << 30)
		if errors.Is(err, io.EOF) {
			return all, j.Skipped
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// asJournalctl is an entry in the form of journalctl -o json: values that are no
// text are lists of bytes, fields that come twice are lists.
func asJournalctl(e Entry) map[string]any {
	m := map[string]any{
		"__REALTIME_TIMESTAMP":  strconv.FormatUint(e.Realtime, 10),
		"__MONOTONIC_TIMESTAMP": strconv.FormatUint(e.Monotonic, 10),
	}
	for _, f := range e.Fields {
		if have, twice := m[f.Name]; twice {
			if list, ok := have.([]any); ok {
				m[f.Name] = append(list, f.Value)
			} else {
				m[f.Name] = []any{have, f.Value}
			}
			continue
		}
		m[f.Name] = f.Value
	}
	m["_BOOT_ID"] = e.BootID.String()
	return m
}

// flat makes both forms comparable.
func flat(m map[string]any) string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k == "__CURSOR" || k == "__SEQNUM" || k == "__SEQNUM_ID" {
			continue
		}
		v := m[k]
		if list, ok := v.([]any); ok && len(list) > 0 {
			if _, isBytes := list[0].(float64); isBytes {
				raw := make([]byte, len(list))
				for i, b := range list {
					raw[i] = byte(b.(float64))
				}
				v = string(raw)
			} else {
				text := make([]string, len(list))
				for i, one := range list {
					text[i] = fmt.Sprint(one)
				}
				slices.Sort(text)
				v = strings.Join(text, "\x00")
			}
		}
		lines = append(lines, fmt.Sprintf("%s=%v", k, v))
	}
	return strings.Join(lines, "\n")
}

func compareWithJournalctl(t *testing.T, path string) {
	t.Helper()
	got, _ := readAll(t, path, Selection{})
	want := journaltest.Oracle(t, path)
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d entries, journalctl has %d", len(got), len(want))
	}
	for i, line := range want {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if g, w := flat(asJournalctl(got[i])), flat(m); g != w {
			t.Fatalf("entry %d:\n%s\njournalctl:\n%s", i, g, w)
		}
	}
}

// export is entries of every kind: short, repeated, empty, with bytes that are no
// text, with a field twice.
func export(n, from int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		b.WriteString(journaltest.Export(1_795_430_284_000_000+int64(i)*1000, int64(i)*1000, journaltest.Boot,
			"_SYSTEMD_UNIT=belaUI.service", "PRIORITY=6", "MESSAGE=line "+strconv.Itoa(i), "N="+strconv.Itoa(i%7), "EMPTY=",
			"TWICE=a"+strconv.Itoa(i%3), "TWICE=b"+strconv.Itoa(i%5)))
	}
	return b.String()
}

func TestEntriesAreThoseOfJournalctlInEveryFormat(t *testing.T) {
	journaltest.Need(t)
	binary := "__REALTIME_TIMESTAMP=1795430999000000\n__MONOTONIC_TIMESTAMP=5\n_BOOT_ID=" + journaltest.Boot +
		"\nMESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00a\nb\x00\xff\n\n"
	for _, env := range journaltest.Formats {
		t.Run(strings.Join(env, " "), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.journal")
			journaltest.Write(t, path, export(3000, 1)+binary, env...)
			compareWithJournalctl(t, path)
		})
	}
}

func TestFixturesReadAsJournalctlReadsThem(t *testing.T) {
	dir := os.Getenv("METRICS_FIXTURES")
	if dir == "" {
		t.Skip("METRICS_FIXTURES names no directory of captured files")
	}
	exports, err := filepath.Glob(filepath.Join(dir, "encoder", "journal", "*.export"))
	if err != nil || len(exports) == 0 {
		t.Fatalf("no exports: %v", err)
	}
	for _, file := range exports {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, env := range journaltest.Formats {
			path := filepath.Join(t.TempDir(), "a.journal")
			journaltest.Write(t, path, string(text), env...)
			compareWithJournalctl(t, path)
		}
	}
}

func TestCompressedValuesAreSkippedAndCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.journal")
	long := strings.Repeat("long ", 400)
	journaltest.Write(t, path, journaltest.Export(1, 1, journaltest.Boot, "A=short", "MESSAGE="+long, "B=short")+
		journaltest.Export(2, 2, journaltest.Boot, "MESSAGE=after"))
	all, skipped := readAll(t, path, Selection{})
	if len(all) != 2 || all[0].Get("A") != "short" || all[0].Get("B") != "short" || all[0].Get("MESSAGE") != "" || all[1].Get("MESSAGE") != "after" {
		t.Errorf("got %v", all)
	}
	if skipped.Compressed != 1 || skipped.Damaged != 0 || skipped.Long != 0 {
		t.Errorf("skipped %+v, want 1 compressed", skipped)
	}
}

func TestOnlySelectedSamplesAreReturned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.journal")
	journaltest.Write(t, path, journaltest.Export(1, 1, journaltest.Boot, "_TRANSPORT=kernel", "MESSAGE=one", "X=1")+
		journaltest.Export(2, 2, journaltest.Boot, "_TRANSPORT=stdout", "MESSAGE=two", "NOTE=_TRANSPORT=kernel")+
		journaltest.Export(3, 3, journaltest.Boot, "MESSAGE=three", "_TRANSPORT=kernel"))
	all, _ := readAll(t, path, Selection{Any: []string{"_TRANSPORT=kernel"}, Fields: []string{"MESSAGE"}})
	if len(all) != 2 || len(all[0].Fields) != 1 || all[0].Get("MESSAGE") != "one" || all[1].Get("MESSAGE") != "three" {
		t.Errorf("got %v", all)
	}
}

func TestAFileOfAnUnknownFormatIsRefusedByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.journal")
	journaltest.Write(t, path, export(1, 1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[12] |= 0x40
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Selection{}); !errors.Is(err, ErrUnknownFormat) || !strings.Contains(err.Error(), "0x5") && !strings.Contains(err.Error(), "0x4") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.TempDir(), Selection{}); !errors.Is(err, ErrNotJournal) {
		t.Errorf("a directory: %v", err)
	}
}

// small makes a file of n entries.
func small(compact bool, n int) []byte {
	var entries []journaltest.Entry
	for i := range n {
		entries = append(entries, journaltest.Entry{
			Realtime: int64(1000 * i), Monotonic: int64(i), Boot: journaltest.Boot,
			Fields: []string{"PRIORITY=6", "MESSAGE=" + strconv.Itoa(i)},
		})
	}
	return journaltest.Bytes(compact, entries)
}

// FuzzAnyBytes reads any bytes as a file, and files with any bytes in them: it
// must end, without a panic, within bounds.
func FuzzAnyBytes(f *testing.F) {
	for _, compact := range []bool{false, true} {
		b := small(compact, 20)
		f.Add(b, uint32(0), uint64(0))
		f.Add(b, uint32(176), uint64(208))
		path := filepath.Join(f.TempDir(), "a.journal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			f.Fatal(err)
		}
		if all, _ := readAll(f, path, Selection{}); len(all) != 20 || all[19].Get("MESSAGE") != "19" || all[19].Get("PRIORITY") != "6" {
			f.Fatalf("the seed is none: %v", all)
		}
	}
	f.Add([]byte(signature), uint32(9), uint64(1)<<63)
	path := filepath.Join(f.TempDir(), live)
	f.Fuzz(func(t *testing.T, b []byte, at uint32, v uint64) {
		if len(b) > 1<<16 {
			return
		}
		b = slices.Clone(b)
		for i := range 8 {
			if p := int(at) + i; p < len(b) {
				b[p] = byte(v >> (8 * i))
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func(s Selection, at Cursor) {
			f := Follow([]string{filepath.Dir(path)}, s, at)
			entries := 0
			each := func(e Entry, _ bool) {
				if entries++; len(e.Fields) > maxItems {
					t.Errorf("%d fields", len(e.Fields))
				}
			}
			for range 5 {
				if r, err := f.Poll(Bounds{Entries: 50, Since: time.UnixMicro(3000), Recent: time.UnixMicro(1)}, each); err != nil || !r.More {
					break
				}
			}
			if entries > 300 {
				t.Errorf("%d entries of at most 300", entries)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		id := ID([]byte("a sequence of id"))
		read(Selection{}, Cursor{})
		read(Selection{}, Cursor{id, 2})
		read(Selection{Any: []string{"PRIORITY=6"}, Fields: []string{"MESSAGE"}}, Cursor{id, 1})
	})
}
