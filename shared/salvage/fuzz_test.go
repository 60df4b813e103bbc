package salvage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
)

// FuzzRecord: what is no record is passed over, and what is one is as long as it
// says.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{8, 5, 1, 7, 0, 9, 8, 8, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 3, 0x40, 0x16, 0, 0, 0, 0, 0, 0}, 23)
	f.Add([]byte{3, 0x81, 0x01}, 1000)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9)
	f.Fuzz(func(t *testing.T, data []byte, length int) {
		var r record
		if length > maxRecord || !r.decode(data, length) {
			return
		}
		if r.columns < 1 || r.columns > maxColumns || length < r.columns {
			t.Fatalf("%d columns in %d bytes", r.columns, length)
		}
		for _, whole := range []bool{true, false} {
			if one := tableOf(&r, whole, len(data) >= length); one != nil && len(one.columns) != r.columns {
				t.Fatalf("%s has %d columns, the record %d", one.name, len(one.columns), r.columns)
			}
		}
	})
}

// FuzzPage: no page, however long and whatever is in it, makes a scan fail, read
// beyond it, or give a sample that fits no table.
func FuzzPage(f *testing.F) {
	s, err := makeStock()
	if err != nil {
		f.Fatal(err)
	}
	for _, number := range []uint32{1, 2, 3, s.root, s.upper[0], s.pageOf[key{5000, 1}]} {
		f.Add(s.file[pageStart(number):pageStart(number)+pageSize], number, uint16(1))
	}
	p := newPages(newDevice(bytes.NewReader(s.file), int64(len(s.file))), newDevice(nil, 0))
	f.Fuzz(func(t *testing.T, data []byte, number uint32, size uint16) {
		p.size = 512 << (size % 8)
		scan := &scanner{pages: p}
		one := page{number: max(1, number), size: p.size, data: data[:min(len(data), p.size)]}
		before := int64(-1)
		for _, row := range scan.readSamples(one, func(*sample) bool { return true }) {
			if row.at < 0 || row.at > store.MaxTimeMs || row.series < 1 || row.series > store.MaxSeries || row.state < 0 || row.state > int8(store.Local) {
				t.Fatalf("%+v is no sample", row)
			}
			if row.at < before {
				t.Fatalf("%d comes after %d", row.at, before)
			}
			before = row.at
		}
	})
}

// FuzzWAL: whatever is in a WAL, its frames are within it, one for each page, and
// none is taken twice.
func FuzzWAL(f *testing.F) {
	l, err := makeLogged()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.log[:frameAt(6)])
	broken := bytes.Clone(l.log[:frameAt(12)])
	broken[frameAt(5)+100] ^= 1
	f.Add(broken)
	f.Add(append(make([]byte, walHeader), l.log[walHeader:frameAt(6)]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newPages(newDevice(nil, 0), newDevice(bytes.NewReader(data), int64(len(data))))
		for _, frames := range [][]frame{p.wal.good, p.wal.behind} {
			for i, one := range frames {
				if one.at < walHeader+frameHeader || one.at+int64(p.size) > int64(len(data)) {
					t.Fatalf("%+v is not within %d bytes", one, len(data))
				}
				if i > 0 && one.page <= frames[i-1].page {
					t.Fatalf("%+v comes after %+v", one, frames[i-1])
				}
			}
		}
		if int(p.limit) > len(data)/512+2048 {
			t.Fatalf("%d pages in %d bytes", p.limit, len(data))
		}
	})
}

// FuzzDatabase: every file and WAL end in a sound database, soon, whose rows are
// those that were there.
func FuzzDatabase(f *testing.F) {
	l, err := makeLogged()
	if err != nil {
		f.Fatal(err)
	}
	for file := range byte(2) {
		for kind := range byte(6) {
			f.Add([]byte{file, kind, 0x20, 0x4e, 0, 0, 100, 0xff})
			f.Add([]byte{file, kind, 0x88, 0x13, 0, 0, 30, 0, 1 - file, kind, 0x40, 0x9c, 0, 0, 3, 7})
		}
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		files := sqltest.Damage([2][]byte{l.file, l.log}, ops[:min(len(ops), 64)])
		from, to := filepath.Join(t.TempDir(), "old.db"), filepath.Join(t.TempDir(), "new.db")
		for i, part := range []string{"", "-wal"} {
			if err := os.WriteFile(from+part, files[i], 0o640); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		report, err := Run(t.Context(), from, to, Known{Device: "board-1"})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
		rows, err := readRows(to)
		if err != nil || len(rows) != int(report.Samples) {
			t.Fatalf("%d rows, %+v, %v", len(rows), report, err)
		}
		wrong := 0
		for k, is := range rows {
			if l.rows[k] != is {
				wrong++
			}
		}
		// A bit that flips in a value leaves no trace; nor does a run that ends in one.
		if runs := len(ops)/8 + 1; wrong > 20*runs {
			t.Errorf("%d of %d rows were never there", wrong, len(rows))
		}
		checkSound(t, to)
	})
}
