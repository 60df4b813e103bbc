package salvage

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

func TestRowsWhosePagesAreIntactAreKept(t *testing.T) {
	if raced {
		t.Skip("make test runs it without the race detector: nothing in it runs side by side")
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	s := mustStock(t)
	for i, a := range damages {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			checkDamage(t, s, uint64(i), a)
		})
	}
}

func TestRowsWhosePagesAreIntactAreKeptAfterTwoDamages(t *testing.T) {
	if testing.Short() {
		t.Skip("salvages 190 files")
	}
	if raced {
		t.Skip("make test runs it without the race detector: nothing in it runs side by side")
	}
	s := mustStock(t)
	for i, a := range damages {
		for j, b := range damages[:i] {
			t.Run(a.name+" and "+b.name, func(t *testing.T) {
				t.Parallel()
				checkDamage(t, s, uint64(i*100+j), a, b)
			})
		}
	}
}

func checkDamage(t *testing.T, s stock, seed uint64, all ...damage) {
	file := slices.Clone(s.file)
	random := rand.New(rand.NewPCG(seed, 1))
	moved := false
	for _, d := range all {
		file, moved = d.do(s, file, random), moved || d.moves()
	}
	report, to := mustRun(t, file, nil, Known{Device: "board-1"})
	rows, err := readRows(to)
	if err != nil {
		t.Fatal(err)
	}

	// No row that was not there, with another value, or under another name.
	intact, missing := 0, 0
	for k, page := range s.pageOf {
		if !s.isIntact(file, page) {
			continue
		}
		intact++
		if rows[k] == "" {
			missing++
		}
	}
	back := 0
	for k, is := range rows {
		was, there := s.rows[k]
		switch {
		case there && was != is:
			t.Errorf("%v is %q, was %q", k, is, was)
		case !there && s.deleted[k] != "" && is == s.deleted[k]:
			back++
		case !there:
			t.Errorf("%v is %q, was never there", k, is)
		}
	}
	if back > 0 && !moved && s.mapIntact(file) {
		t.Errorf("%d deleted rows are back", back)
	}
	for k, is := range rows {
		if _, there := s.rows[k]; !there && !delivered(is) {
			t.Errorf("%v was deleted and is %q", k, is)
		}
	}
	t.Logf("%d of %d rows kept; of %d in intact pages %d are missing; %d deleted ones are back; lost %s; %+v", len(rows), len(s.rows), intact, missing, back, lostText(report), report)
	if missing*50 > intact {
		t.Errorf("%d of %d rows whose page is intact are missing", missing, intact)
	}
	checkNames(t, s, to)
	checkLedger(t, s, to, report, rows, back)
}

// checkNames fails if a series is not what it was. One whose name is lost says so.
func checkNames(t *testing.T, s stock, path string) {
	t.Helper()
	names, err := readNames(path)
	if err != nil {
		t.Fatal(err)
	}
	for id, is := range names {
		if is != s.names[id] && !strings.HasPrefix(is, unnamedMetric+" ") {
			t.Errorf("series %d is %q, was %q", id, is, s.names[id])
		}
	}
}

// checkLedger fails unless the ledger balances, and the loss is right or unknown.
func checkLedger(t *testing.T, s stock, path string, report Report, rows map[key]string, back int) {
	t.Helper()
	db, err := store.OpenReader(t.Context(), path, store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := storetest.Audit(t.Context(), db)
	if err != nil {
		t.Error(err)
	}
	undelivered := func(rows map[key]string) (n int64) {
		for _, is := range rows {
			if !delivered(is) {
				n++
			}
		}
		return n
	}
	gone := undelivered(s.rows) - undelivered(rows)
	if report.Lost != nil && (*report.Lost != gone || l.Captured != s.ledger.Captured || l.Lost != s.ledger.Lost+gone) {
		t.Errorf("lost %d, the ledger is %+v; it was %+v, and %d are gone", *report.Lost, l, s.ledger, gone)
	}
	if int(report.Samples) != len(rows) {
		t.Errorf("reports %d samples, there are %d", report.Samples, len(rows))
	}
	check, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer check.Close()
	var found string
	if err := check.QueryRow("PRAGMA integrity_check").Scan(&found); err != nil || found != "ok" {
		t.Errorf("integrity: %s, %v", found, err)
	}
}

func lostText(r Report) any {
	if r.Lost == nil {
		return "unknown"
	}
	return *r.Lost
}

func delivered(row string) bool {
	parts := strings.Fields(row)
	return parts[3] == "1"
}

// isIntact says whether a page is what it was.
func (s stock) isIntact(file []byte, number uint32) bool {
	at := pageStart(number)
	return at+pageSize <= len(file) && bytes.Equal(file[at:at+pageSize], s.file[at:at+pageSize])
}

// mapIntact says whether the pointer map is what it was.
func (s stock) mapIntact(file []byte) bool {
	for n := uint32(2); pageStart(n) < len(file); n += pageSize/5 + 1 {
		if pageStart(n) < len(s.file) && !s.isIntact(file, n) {
			return false
		}
	}
	return true
}
