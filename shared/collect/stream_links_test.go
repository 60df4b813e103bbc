package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	statsFile = "tmp/srtla-send-stats-9000.json"
	routes    = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
usb0	00000000	0108A8C0	0003	0	0	100	00000000	0	0	0
usb0	0008A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
wwan0	00002D0A	00000000	0001	0	0	700	0000FFFF	0	0	0
`
)

func newLinksStage(t *testing.T) (*stage, *streamLinks) {
	s := newStage(t)
	s.cfg.TmpDir = filepath.Join(s.dir, "tmp")
	s.write("proc/net/route", routes)
	return s, newStreamLinks(s.roots, s.cfg)
}

func valuesOf(samples []metric.Sample) map[string]float64 {
	m := map[string]float64{}
	for _, s := range samples {
		m[s.Name+s.Tags] = s.Value
	}
	return m
}

func TestTheSendersFixturesGiveTheirValues(t *testing.T) {
	dir := filepath.Join(fixtureTree(t), "encoder", "srtla")
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		NowMs int64 `json:"now_ms"`
		Links []struct {
			Link     string
			RTT      *float64 `json:"rtt_ms"`
			NAK      *float64 `json:"nak_total"`
			Weight   *float64 `json:"weight_percent"`
			Window   *float64
			InFlight *float64 `json:"in_flight"`
			Bits     *float64 `json:"bits_per_second"`
		}
		Bitrate struct{ Min, Max float64 } `json:"bitrate_set_bps"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	s, c := newLinksStage(t)
	copyIn := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		s.write(to, string(b))
	}
	updated := func(file string) time.Time {
		t.Helper()
		var told struct {
			Ms int64 `json:"last_updated_ms"`
		}
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err := errors.Join(err, json.Unmarshal(b, &told)); err != nil {
			t.Fatal(err)
		}
		return time.UnixMilli(told.Ms)
	}
	copyIn("srtla-send-stats-9000.json", statsFile)
	copyIn("srtla_ips", "tmp/srtla_ips")
	copyIn("belacoder_br", "tmp/belacoder_br")
	samples, err := c.Collect(time.UnixMilli(expected.NowMs))
	if err != nil {
		t.Fatal(err)
	}
	got := valuesOf(samples)
	want := map[string]float64{
		"stream.bitrate_min_bps": expected.Bitrate.Min, "stream.bitrate_max_bps": expected.Bitrate.Max,
		"stream.relay_dropped_total": 199, "stream.links_dropped_total": 0,
		"stream.stats_age_seconds": time.UnixMilli(expected.NowMs).Sub(updated("srtla-send-stats-9000.json")).Seconds(),
	}
	for _, l := range expected.Links {
		tags := metric.Tags("link", l.Link)
		switch { // by the table of routes
		case strings.HasPrefix(l.Link, "192.168.8."):
			tags = metric.Tags("link", l.Link, "interface", "usb0")
		case strings.HasPrefix(l.Link, "10.45."):
			tags = metric.Tags("link", l.Link, "interface", "wwan0")
		}
		for name, v := range map[string]*float64{
			"rtt_ms": l.RTT, "nak_total": l.NAK, "weight_percent": l.Weight, "window_packets": l.Window,
			"in_flight_packets": l.InFlight, "bits_per_second": l.Bits,
		} {
			if v != nil {
				want["stream.link_"+name+tags] = *v
			}
		}
	}
	diff(t, want, got)

	// Later it is stale: only its age is reported.
	samples, err = c.Collect(updated("srtla-send-stats-9000.json").Add(6 * time.Second))
	if got := valuesOf(samples); err != nil || got["stream.stats_age_seconds"] != 6 || len(got) != 4 {
		t.Errorf("%v, %v", got, err)
	}
	copyIn("torn.json", statsFile)
	samples, err = c.Collect(time.UnixMilli(expected.NowMs))
	if got := valuesOf(samples); Failed(err) != 1 || len(got) != 3 {
		t.Errorf("torn: %v, %v", got, err)
	}
	copyIn("zero-links.json", statsFile)
	samples, err = c.Collect(updated("zero-links.json").Add(500 * time.Millisecond))
	if got := valuesOf(samples); err != nil || got["stream.stats_age_seconds"] != 0.5 || len(got) != 5 {
		t.Errorf("no links: %v, %v", got, err)
	}
}

func stats(updated int64, connections ...string) string {
	return fmt.Sprintf(`{"schema_version":1,"last_updated_ms":%d,"connections":[%s]}`, updated, strings.Join(connections, ","))
}

func TestMissingValuesAreAbsentAndWrongOnesAreAFault(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	f := func(name, stats, ips, rates string, samples, failed int, wants ...string) {
		t.Helper()
		s, c := newLinksStage(t)
		s.relay(false)
		for path, text := range map[string]string{statsFile: stats, "tmp/srtla_ips": ips, "tmp/belacoder_br": rates} {
			if text != "-" {
				s.write(path, text)
			}
		}
		got, err := c.Collect(now)
		if len(got) != samples || Failed(err) != failed {
			t.Errorf("%s: %d samples and %d faults, want %d and %d: %v %v", name, len(got), Failed(err), samples, failed, got, err)
		}
		if samples == 0 && failed == 0 && !errors.Is(err, ErrNoData) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range wants {
			if _, ok := valuesOf(got)[w]; !ok {
				t.Errorf("%s: no %s in %v", name, w, valuesOf(got))
			}
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
	fresh := now.UnixMilli() - 900
	f("nothing there", "-", "-", "-", 0, 0)
	f("an empty bitrate file is being written", "-", "-", "", 0, 0)
	f("one line", "-", "-", "500000\n", 0, 1)
	f("words", "-", "-", "secret\nwords\n", 0, 1)
	f("zero", "-", "-", "0\n500000\n", 0, 1)
	f("keys are missing", stats(fresh, `{"conn_id":"0","rtt_ms":4,"secret":{"x":[1]}}`), "10.45.0.2\n", "-", 3, 0,
		`stream.link_rtt_ms{"interface":"wwan0","link":"10.45.0.2"}`)
	f("null is missing", stats(fresh, `{"conn_id":0,"rtt_ms":null,"window":3}`), "-", "-", 3, 0, `stream.link_window_packets{"link":"0"}`)
	f("a line that is no address counts", stats(fresh, `{"conn_id":"1","rtt_ms":4}`), "secret\n10.45.0.2\n", "-", 3, 0,
		`stream.link_rtt_ms{"interface":"wwan0","link":"10.45.0.2"}`)
	f("a link that is not in the list", stats(fresh, `{"conn_id":"7","rtt_ms":4}`), "10.45.0.2\n", "-", 3, 0, `stream.link_rtt_ms{"link":"7"}`)
	f("a negative value", stats(fresh, `{"conn_id":"0","rtt_ms":-4}`), "-", "-", 0, 1)
	f("a text for a value", stats(fresh, `{"conn_id":"0","rtt_ms":"secret"}`), "-", "-", 0, 1)
	f("twice the same", stats(fresh, `{"conn_id":"0","rtt_ms":4},{"conn_id":"0","rtt_ms":5}`), "-", "-", 0, 1)
	f("no conn_id", stats(fresh, `{"rtt_ms":4}`), "-", "-", 0, 1)
	f("no time", `{"connections":[]}`, "-", "-", 0, 1)
	f("empty", "", "-", "-", 0, 1)
	f("of the future", stats(now.UnixMilli()+60_000, `{"conn_id":"0","rtt_ms":4}`), "-", "-", 0, 0)
	f("too big", strings.Repeat("x", maxEncoderFile+1), "-", "-", 0, 1)
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf(`{"conn_id":"%d","rtt_ms":4}`, i))
	}
	f("more than 16", stats(fresh, many...), "-", "-", 18, 0)
}

func TestAnInterfaceIsNamedOnlyWhereItIsCertain(t *testing.T) {
	two := routes + "usb1	0008A8C0	00000000	0001	0	0	101	00FFFFFF	0	0	0\n"
	for _, c := range []struct{ table, link, want string }{
		{routes, "192.168.8.100", "usb0"},
		{routes, "10.45.200.2", "wwan0"}, // 10.45.0.0/16
		{routes, "10.46.0.2", ""},
		{routes, "3", ""},
		{two, "192.168.8.100", ""},
		{two, "10.45.0.2", "wwan0"},
		{"garbage\n\nusb0 x y z\n", "192.168.8.100", ""},
	} {
		if got := interfaceOf(c.link, parseRoutes([]byte(c.table))); got != c.want {
			t.Errorf("%s: %q, want %q", c.link, got, c.want)
		}
	}
}

func TestTheRelaysSocketIsFoundByItsPort(t *testing.T) {
	dropped, listens, err := parseUDP([]byte(relayTable), 9000)
	if dropped != 199 || !listens || err != nil {
		t.Errorf("%d, %v, %v", dropped, listens, err)
	}
	if _, listens, err := parseUDP([]byte(relayTable), 9001); listens || err != nil {
		t.Errorf("%v, %v", listens, err)
	}
	if _, _, err := parseUDP(nil, 9000); Failed(err) != 1 {
		t.Errorf("an empty table: %v", err)
	}
	if _, listens, err := parseUDP([]byte("head\n 1: 00000000:2328 0\n"), 9000); !listens || Failed(err) != 1 {
		t.Errorf("a short line: %v, %v", listens, err)
	}
}

func FuzzEncoderFiles(f *testing.F) {
	f.Add([]byte(stats(1, `{"conn_id":"0","rtt_ms":4}`)))
	f.Add([]byte("500000\n6000000\n"))
	f.Add([]byte(relayTable))
	f.Add([]byte(routes))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseLinkStats(data); err == nil {
			for _, l := range s.links {
				for _, v := range l.values {
					if !metric.Finite(v.value) || v.value < 0 {
						t.Errorf("%+v", v)
					}
				}
			}
		}
		if low, high, err := parseBitrate(data); err == nil && (low <= 0 || high <= 0) {
			t.Errorf("%v %v", low, high)
		}
		for _, n := range parseLinkList(data) {
			if n != address(n) {
				t.Errorf("%q", n)
			}
		}
		interfaceOf("192.168.8.100", parseRoutes(data))
		_, _, _ = parseUDP(data, 9000)
	})
}
