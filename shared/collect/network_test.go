package collect

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
)

const headings = "Inter-|   Receive    |  Transmit\n face |bytes    packets errs|bytes packets\n"

// links runs one collector over rounds of interfaces and returns, per round,
// which were reported, and the counter of those left out.
func links(t *testing.T, cfg config.MetricConfig, rounds ...[]string) []string {
	t.Helper()
	dir := t.TempDir()
	c, err := newNetwork(hostfs.Roots{Proc: dir}, cfg, "config")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, names := range rounds {
		var table strings.Builder
		table.WriteString(headings)
		for i, n := range names {
			fmt.Fprintf(&table, "%6s:%d 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", n, i)
		}
		hosttest.Write(t, filepath.Join(dir, "net/dev"), table.String())
		samples, err := c.Collect(time.Now())
		if err != nil {
			t.Error(err)
		}
		var line []string
		for _, s := range samples {
			switch s.Name {
			case "network.rx_bytes_total":
				line = append(line, strings.TrimSuffix(strings.TrimPrefix(s.Tags, `{"interface":"`), `"}`))
			case "network.interfaces_dropped_total":
				line = append(line, fmt.Sprint(s.Value))
			}
		}
		out = append(out, strings.Join(line, " "))
	}
	return out
}

func TestPatternsMatchWholeNames(t *testing.T) {
	names := []string{"lo", "wlo1", "docker0", "mydocker0", "veth1", "br-1", "xbr-1", "virbr0", "wlan0", "wlan0mon", "wwan0", "wwp0s20", "usb0", "enx0011", "eth0:1"}
	for _, tt := range []struct {
		name             string
		include, exclude []string
		want             string
	}{
		{"the default keeps the modems", nil, config.DefaultExcludeIfaces(), "enx0011 eth0:1 mydocker0 usb0 wlan0 wlo1 wwan0 wwp0s20 xbr-1 0"},
		{"an empty list excludes nothing", nil, []string{}, "br-1 docker0 enx0011 eth0:1 lo mydocker0 usb0 veth1 virbr0 wlan0 wlan0mon wlo1 wwan0 wwp0s20 xbr-1 0"},
		{"include and exclude", []string{"w.*", "lo"}, []string{"wlan.*mon"}, "lo wlan0 wlo1 wwan0 wwp0s20 0"},
		{"an alternative is anchored as a whole", []string{"lo|usb0"}, nil, "lo usb0 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := links(t, config.MetricConfig{IncludeIfaces: tt.include, ExcludeIfaces: tt.exclude, MaxInterfaces: 32}, names)
			if d := cmp.Diff([]string{tt.want}, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestANewcomerNeverDisplacesAReportedInterface(t *testing.T) {
	got := links(t, config.MetricConfig{MaxInterfaces: 3},
		[]string{"wwan1", "wwan0", "eth0"},
		[]string{"aaa0", "aaa1", "wwan1", "wwan0", "eth0"},
		[]string{"wwan0", "aaa1", "aaa0", "eth0"}, // wwan1 was unplugged: its place is free
		[]string{"wwan0", "wwan1", "aaa1", "aaa0", "eth0"},
		[]string{"wwan0"},
	)
	want := []string{"eth0 wwan0 wwan1 0", "eth0 wwan0 wwan1 2", "aaa0 eth0 wwan0 3", "aaa0 eth0 wwan0 5", "wwan0 5"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestTenThousandInterfacesStayWithinTheLimit(t *testing.T) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("ppp%05d", 9999-i)
	}
	got := links(t, config.MetricConfig{MaxInterfaces: 32}, names, names)
	for i, want := range []string{" 9968", " 19936"} {
		if n := len(strings.Fields(got[i])); n != 33 || !strings.HasPrefix(got[i], "ppp00000 ppp00001 ") || !strings.HasSuffix(got[i], want) {
			t.Errorf("round %d: %d interfaces: %s", i, n-1, got[i])
		}
	}
}

func TestStrangeNamesBecomeSeriesOfTheirOwn(t *testing.T) {
	counts := ":1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
	table := headings + `a"b` + counts + "a\\b" + counts + "a|b" + counts + "a\xff" + counts + "a:b" + counts +
		"a\xfe" + counts + strings.Repeat("n", 65) + counts + "split\nname" + counts + counts
	found, err := interfaces([]byte(table), everything)
	var got []string
	for _, i := range found {
		if i.RxBytes != 1 || i.RxPackets != 2 || i.RxErrors != 3 || i.TxBytes != 9 || i.TxPackets != 10 || i.TxErrors != 11 {
			t.Errorf("%+v", i)
		}
		got = append(got, metric.Tags("i", distinct(i.Name)))
	}
	want := []string{`{"i":"a\"b"}`, `{"i":"a\\b"}`, `{"i":"a|b"}`, `{"i":"a\\xff"}`, `{"i":"a:b"}`, `{"i":"a\\xfe"}`, `{"i":"name"}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if Failed(err) != 3 { // the long one, the first half of the split one, the one without a name
		t.Errorf("%d failed: %v", Failed(err), err)
	}
}
