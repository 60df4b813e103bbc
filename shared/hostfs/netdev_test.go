package hostfs

import (
	"strings"
	"testing"
)

func TestNetDevReadsEachLineIndependently(t *testing.T) {
	const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 0 0 0 0 0 0 0 1000 0 0 0 0 0 0 0
  eth0:99 2 3 0 0 0 0 0 20 4 5 0 0 0 0 0
eth0:1: 99 0 0 0 0 0 0 0 3 0 0 0 0 0 0 0
  eth0:1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
 wwan0: 99 0 0 0 0 0 0 0 18446744073709551615 0 0 0 0 0 0 0 more
 short: 1 2 3
 letter: 1 2 3 4 5 6 7 8 x 9 10 11 12 13 14 15
 minus: 1 2 3 4 5 6 7 8 -9 9 10 11 12 13 14 15
 wide: 18446744073709551616 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
nothing
: 1 0 0 0 0 0 0 0 1000 0 0 0 0 0 0 0
`
	var got []Interface
	failed := 0
	for i, err := range NetDev([]byte(table), func(name []byte) bool { return string(name) != "lo" }) {
		if err != nil {
			failed++
			continue
		}
		got = append(got, i)
	}
	want := []Interface{
		{Name: "eth0", RxBytes: 99, RxPackets: 2, RxErrors: 3, TxBytes: 20, TxPackets: 4, TxErrors: 5},
		{Name: "eth0:1", RxBytes: 99, TxBytes: 3},
		{Name: "wwan0", RxBytes: 99, TxBytes: 1<<64 - 1},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%+v", got)
	}
	if failed != 7 { // the second eth0, and the last six lines
		t.Errorf("%d lines failed", failed)
	}
	for range NetDev([]byte(table), func([]byte) bool { return true }) {
		break // may be stopped
	}
	n := 0
	for _, err := range NetDev([]byte(" \n\n"), func([]byte) bool { return true }) {
		if n++; err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("an empty file: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("an empty file: %d words", n)
	}
}

func FuzzNetDev(f *testing.F) {
	f.Add([]byte("eth0: 1 2 3 4 5 6 7 8 9\n:\n"))
	f.Add([]byte("a:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\na:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		seen := map[string]bool{}
		for i, err := range NetDev(data, func([]byte) bool { return true }) {
			if err == nil && (i.Name == "" || seen[i.Name]) || err != nil && len(err.Error()) > 1000 {
				t.Errorf("%+v, %v", i, err)
			}
			seen[i.Name] = true
		}
	})
}
