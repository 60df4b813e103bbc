package salvage

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

func TestALostNameIsFoundByItsHashOrReportedAsLost(t *testing.T) {
	s := mustStock(t)
	number := uint32(0)
	p := newPages(newDevice(bytes.NewReader(s.file), int64(len(s.file))), newDevice(nil, 0))
	scan := &scanner{pages: p}
	lost := map[int64]bool{}
	for n := uint32(1); n <= p.count && number == 0; n++ {
		one, _ := p.get(n, false)
		scan.load(one)
		for _, at := range scan.cells {
			if of, rowid := scan.row(at); of != nil && of.name == "series" {
				number, lost[rowid] = n, true
			}
		}
	}
	file := zero(slices.Clone(s.file), pageStart(number), pageSize)
	_, to := mustRun(t, file, nil, Known{Device: "board-1"})
	names, err := readNames(to)
	if err != nil || len(lost) == 0 || !maps.Equal(names, s.names) {
		t.Errorf("%d names were lost; %v, %v, want %v", len(lost), names, err, s.names)
	}

	// A process that remembers them needs no guess.
	var known []store.Series
	for id := range lost {
		known = append(known, store.Series{ID: id, Name: "cpu.usage_percent", Device: "board-1", Tags: metric.Tags("core", fmt.Sprint(id-1))})
	}
	_, to = mustRun(t, zero(file, 0, 64<<10), nil, Known{Device: "board-1", Series: known})
	if names, err = readNames(to); err != nil {
		t.Fatal(err)
	}
	for id, name := range names {
		if lost[id] && name != s.names[id] || !lost[id] && name != fmt.Sprintf(`%s board-1 {"series_id":"%d"} 0`, unnamedMetric, id) {
			t.Errorf("series %d is %q", id, name)
		}
	}
}
