package tests

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// A recording is two hours of three boards with every metric of the catalogue:
//
//	board-1  well all the time
//	board-2  no uplink from minute 40 to 70: its samples came late, and from minute
//	         55 on some were lost, the first ever
//	board-3  without power from minute 50 to 60; its link wwan1 is dead from minute 90
//
// The values are functions of the time, so that a query can be checked.
var (
	recordingFrom = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	recordingTo   = recordingFrom.Add(2 * time.Hour)
	recorded      = []string{"board-1", "board-2", "board-3"}
)

// tagSets are the tags of each combination that the catalogue has.
var tagSets = map[string][][]string{
	"":                  {nil},
	"core":              {{"core", "all"}, {"core", "0"}, {"core", "1"}, {"core", "2"}, {"core", "3"}},
	"index, zone":       {{"index", "0", "zone", "soc-thermal"}, {"index", "1", "zone", "gpu-thermal"}},
	"device":            {{"device", "mmcblk0"}, {"device", "nvme0n1"}},
	"mountpoint":        {{"mountpoint", "/"}, {"mountpoint", "/data"}},
	"interface":         {{"interface", "eth0"}, {"interface", "wwan0"}, {"interface", "wwan1"}, {"interface", "usb0"}},
	"collector":         {{"collector", "cpu.usage"}, {"collector", "network.traffic"}},
	"collector, reason": {{"collector", "cpu.usage", "reason", "size_limit"}},
	"reason":            {{"reason", "size_limit"}},
	"unit":              {{"unit", "cpu0"}, {"unit", "belaUI.service"}},
	"device, index":     {{"device", "thermal-cpufreq-0", "index", "0"}, {"device", "pwm-fan", "index", "4"}},
	"sensor":            {{"sensor", "simple_vin/in0"}},
	"device, sensor":    {{"device", "nvme0", "sensor", "Composite"}},
	"device, type":      {{"device", "mmcblk0", "type", "a"}},
	"interface, modem":  {{"interface", "wwan0", "modem", "01234567"}},
	"input":             {{"input", "hdmi"}},
	"stream":            {{"stream", "1a2b3c4d"}},
	"file":              {{"file", "hilink.prom"}},
	"resource":          {{"resource", "cpu"}, {"resource", "io"}, {"resource", "memory"}},

	"interface, model, modem, operator, technology": {{"interface", "wwan0", "model", "EM7455", "modem", "01234567", "operator", "Test Network", "technology", "lte"}},

	"kernel, model, version": {{"kernel", "6.1.99", "model", "A board", "version", "1.4"}},

	"event, link, reason":       {{"event", "link_failed", "link", "10.45.0.2"}, {"event", "srt_failed"}, {"event", "srt_not_connected", "reason", "timeout"}},
	"event":                     {{"event", "usb_disconnect"}, {"event", "hdmi_no_lock"}},
	"event, link, reason, unit": {{"event", "link_failed", "link", "10.45.0.2"}, {"event", "usb_disconnect"}, {"event", "unit_failed", "reason", "signal", "unit", "belaUI.service"}},
	"result, unit":              {{"result", "signal", "unit", "belaUI.service"}},
	"code, unit":                {{"code", "killed", "unit", "belaUI.service"}},
	"interface, link":           {{"interface", "wwan0", "link", "10.45.0.2"}, {"interface", "usb0", "link", "192.168.8.100"}},

	"daemon": {{"daemon", "metrics-collector"}, {"daemon", "metrics-shipper"}},
}

// recording returns the recording as lines of /api/v1/import.
func recording(t *testing.T) []byte {
	t.Helper()
	var lines []byte
	for i := range recorded {
		for _, e := range metric.Catalog {
			sets, known := tagSets[e.Tags]
			if !known {
				t.Fatalf("%s has tags that the recording does not know: %s", e.Name, e.Tags)
			}
			if e.Name == "cpu.iowait_percent" || e.Name == "cpu.steal_percent" {
				sets = sets[:1]
			}
			for _, tags := range sets {
				if e.Kind == metric.Histogram {
					for _, le := range []string{"0.01", "0.1", "1", "+Inf"} {
						lines = appendSeries(t, lines, i, e, "_bucket", append([]string{"le", le}, tags...))
					}
					lines = appendSeries(t, lines, i, e, "_sum", tags)
					lines = appendSeries(t, lines, i, e, "_count", tags)
					continue
				}
				lines = appendSeries(t, lines, i, e, "", tags)
			}
		}
	}
	return lines
}

func appendSeries(t *testing.T, lines []byte, board int, e metric.Entry, suffix string, tags []string) []byte {
	t.Helper()
	head, err := vmjson.Head(metric.WireName(e.Name+suffix), recorded[board], metric.Tags(tags...))
	if err != nil {
		t.Fatal(err)
	}
	var values []float64
	var times []int64
	for s := 0.0; s <= recordingTo.Sub(recordingFrom).Seconds(); s += period(e.Name) {
		if board == 2 && s >= 50*60 && s < 60*60 {
			continue // no power
		}
		v := recordedValue(board, e, suffix, strings.Join(tags, " "), s)
		if math.IsNaN(v) {
			continue
		}
		values = append(values, metric.Round(v))
		times = append(times, recordingFrom.UnixMilli()+int64(s*1000))
	}
	if len(values) == 0 {
		return lines
	}
	return vmjson.Append(lines, head, values, times)
}

// periods are the intervals of metrics in seconds, by the beginnings of their
// names, the longest first: TestThePeriodsAreTheDaemons.
var periods = []struct {
	prefix  string
	seconds float64
}{
	{"collector.collection_duration_seconds", 600},
	{"uploader.upload_duration_seconds", 600},
	{"storage.metrics_pending_upload", 60},
	{"uploader.partial_success", 180},
	{"storage.lost_total", 60},
	{"disk.available", 60},
	{"system.uptime", 60},
	{"stream.links_dropped", 10},
	{"stream.bitrate", 10},
	{"stream.relay", 10},
	{"stream.stats", 10},
	{"stream.link_", 10},
	{"stream.active", 30},
	{"stream.", 300},
	{"kernel.", 300},
	{"unit.failures", 300},
	{"unit.exits", 300},
	{"unit.restarts_s", 300},
	{"disk.total", 60},
	{"disk.used", 60},
	{"cpu.iowait", 10},
	{"cpu.usage", 10},
	{"cpu.steal", 10},
	{"network.rx_dropped", 30},
	{"network.tx_dropped", 30},
	{"network.carrier", 30},
	{"network.speed", 300},
	{"soc.frequency_limit", 300},
	{"soc.cooling_max", 300},
	{"network.up", 30},
	{"network.", 10},
	{"storage.temperature", 3600},
	{"storage.life", 3600},
	{"storage.pre_eol", 3600},
	{"receiver.", 10},
	{"hdmi.", 10},
	{"board.", 3600},
	{"power.", 60},
	{"fan.", 60},
	{"collector.", 300},
	{"uploader.", 60},
	{"storage.", 180},
	{"process.", 180},
	{"time.", 60},
}

// onlySomeHave says whether a metric is of what not every machine has: those of
// the collectors that are silent without it.
func onlySomeHave(name string) bool {
	for _, p := range []string{
		"stream.", "kernel.", "soc.", "power.", "fan.", "storage.temperature", "storage.life", "storage.pre_eol", "network.up", "network.carrier", "network.speed",
		"network.rx_dropped", "network.tx_dropped", "udp.", "softnet.", "unit.", "pressure.", "textfile.", "receiver.", "hdmi.", "modem.", "system.units_failed", "board.", "collector.devices_dropped",
	} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// period is the interval of a metric by default, in seconds.
func period(name string) float64 {
	for _, p := range periods {
		if strings.HasPrefix(name, p.prefix) {
			return p.seconds
		}
	}
	return 30
}

// totals are of what the machine has.
var totals = map[string]float64{"memory.total_bytes": 8 << 30, "memory.swap_total_bytes": 2 << 30, "disk.total_bytes": 64 << 30}

// recordedValue is the value of a series s seconds after the start.
func recordedValue(board int, e metric.Entry, suffix, tags string, s float64) float64 {
	minute := s / 60
	wave := math.Sin(s/600 + float64(board)) // -1 to 1
	switch {
	case e.Name == "soc.cooling_state", e.Name == "collector.devices_dropped_total", e.Name == "udp.rcvbuf_errors_total", e.Name == "udp.in_errors_total":
		return 0
	case strings.HasPrefix(e.Name, "stream.") && e.Kind == metric.Counter && !strings.HasPrefix(e.Name, "stream.link_"),
		strings.HasPrefix(e.Name, "kernel."), strings.HasPrefix(e.Name, "unit.") && e.Name != "unit.cpu_seconds_total" && e.Kind == metric.Counter:
		return 0
	case e.Name == "stream.event_time_seconds":
		return float64(recordingFrom.Unix()) - 600
	case e.Name == "stream.stats_age_seconds":
		return 0.5
	case e.Name == "textfile.mtime_seconds":
		return float64(recordingFrom.Unix()) + s - 5
	case e.Name == "modem.state":
		return 11
	case e.Name == "modem.failed_reason", e.Name == "modem.sim_missing", e.Name == "unit.restarts_total", e.Name == "system.units_failed":
		return 0
	case e.Name == "hdmi.signal":
		return 2
	case e.Name == "storage.pre_eol", e.Name == "board.info", e.Name == "modem.info", e.Unit == "boolean":
		return 1
	case totals[e.Name] > 0:
		return totals[e.Name]
	case e.Name == "system.uptime_seconds":
		return sinceBoot(board, s)
	case e.Name == "storage.metrics_pending_upload":
		switch {
		case board == 1 && minute >= 40 && minute < 70:
			return 180 + 6*(s-40*60)
		case board == 1 && minute >= 70 && minute < 75:
			return 5000
		}
		return 180
	case e.Name == "storage.lost_total":
		if board == 1 && minute >= 55 {
			return 120
		}
		return absent // there is no such series before the first loss
	case e.Name == "storage.wal_size_bytes":
		return math.Floor(4e6 + 1e6*wave)
	case e.Name == "disk.used_bytes":
		return 20e9 + 1e3*s
	case e.Name == "disk.available_bytes":
		return totals["disk.total_bytes"] - 20e9 - 1e3*s
	case e.Name == "storage.rejected_total", e.Name == "collector.metrics_failed_total", e.Name == "network.interfaces_dropped_total":
		return 0
	case strings.HasPrefix(e.Name, "uploader.") || strings.HasPrefix(e.Name, "collector."):
		// Ours, kept over restarts. Delivery stands still while the uplink is gone.
		out := s
		if board == 1 && strings.HasPrefix(e.Name, "uploader.metrics_uploaded") && minute >= 40 && minute < 70 {
			out = 40 * 60
		}
		if strings.HasPrefix(e.Name, "uploader.upload_failures") {
			out = 0
			if board == 1 {
				out = min(max(s-40*60, 0), 30*60) / 6
			}
		}
		if strings.Contains(tags, "le 0.01") {
			out /= 10
		}
		return math.Floor(out / 30 * 180)
	case strings.Contains(tags, "wwan1") && board == 2 && minute >= 90 && e.Kind == metric.Counter:
		return math.Floor(1e5 * sinceBoot(board, 90*60))
	case e.Kind == metric.Counter:
		up := sinceBoot(board, s)
		perSecond := 1e5
		switch {
		case strings.Contains(e.Name, "_errors_"):
			perSecond = 0.01
		case e.Unit == "milliseconds":
			perSecond = 100
		case e.Unit == "seconds":
			perSecond = 0.01
		case e.Unit == "operations", e.Unit == "packets":
			perSecond = 80
		}
		return math.Floor(100*perSecond*(up+20*math.Sin(up/600))) / 100
	case e.Unit == "percent":
		return 40 + 20*wave
	case e.Unit == "celsius":
		return 55 + 10*wave
	case e.Unit == "bytes":
		return math.Floor(1e9 + 1e8*wave)
	case e.Name == "time.skew_ms":
		return math.Floor(300 * wave)
	}
	return 2 + wave
}

func sinceBoot(board int, s float64) float64 {
	if board == 2 && s >= 60*60 {
		return 5 + s - 60*60
	}
	return 86400 + s
}
