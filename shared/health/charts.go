package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	maxChartSeries = 300
	// chartDigits are the significant digits of a value on the page, as its legends show
	// it.
	chartDigits = 3
	// Steps this long hide peaks, so their smallest and largest values are sent as well.
	extremesFrom = time.Minute
)

// chartNames are the metrics that the page draws.
var chartNames = []string{
	"stream.active", "stream.bitrate_max_bps", "stream.link_bits_per_second", "stream.link_rtt_ms", "stream.link_nak_total", "stream.relay_dropped_total",
	"receiver.bits_per_second", "receiver.rtt_ms", "hdmi.signal", "modem.signal_percent", "modem.rsrp_dbm",
	"network.tx_bytes_total", "network.rx_bytes_total",
	"cpu.temperature", "thermal.zone_temp", "cpu.usage_percent", "cpu.iowait_percent", "soc.load_percent", "soc.codec_load_percent", "fan.pwm_percent", "power.volts",
	"unit.cpu_seconds_total", "pressure.waiting_seconds_total", "udp.rcvbuf_errors_total", "udp.sndbuf_errors_total",
	"storage.temperature_celsius", "storage.life_used_percent",
	"memory.used_bytes", "memory.available_bytes", "memory.swap_used_bytes", "system.load1",
	"storage.metrics_pending_upload", "uploader.metrics_uploaded_total", "uploader.bytes_sent_total",
	"disk.read_bytes_total", "disk.write_bytes_total", "disk.used_bytes", "disk.available_bytes",
}

// charts answers with all series of the page in one small answer: since, until
// and step as for /api/query. Counters come as their increase per second. The
// steps of a series are runs of a first step, counted from since_ms, and a length.
func (s *Server) charts(r *http.Request) reply {
	now := time.Now()
	q, err := parseSpan(r.URL.RawQuery, now)
	switch {
	case err != nil:
		return problem(http.StatusBadRequest, err.Error())
	case q.names != nil || q.rate:
		return problem(http.StatusBadRequest, "only since, until and step are allowed; the metrics are those of the page")
	}
	return s.runQuery(r, func(ctx context.Context, db *store.Reader) (reply, error) {
		found, err := db.SeriesNamed(ctx, chartNames, maxChartSeries)
		if err != nil {
			return reply{}, err
		}
		body, err := chartsAnswer(ctx, db, q, found, now)
		return jsonReply(http.StatusOK, body), err
	})
}

// chartsAnswer reads the levels and the rates, and writes every series that has
// a point: {"name", "tags", "steps": [first, length, …], "avg": […]},
// with "min" and "max" for long steps.
func chartsAnswer(ctx context.Context, db *store.Reader, q question, found []store.Series, now time.Time) ([]byte, error) {
	byID := make(map[int64]*columns, len(found))
	sample, err := db.SampleWindow(ctx, q.since, q.until, q.step.Milliseconds())
	if err != nil {
		return nil, err
	}
	for _, rate := range []bool{false, true} {
		span := store.BucketSpan{From: q.since, Until: q.until, StepMs: q.step.Milliseconds(), Rate: rate, SampleMs: sample}
		for _, f := range found {
			if strings.HasSuffix(f.Name, "_total") == rate {
				span.Series = append(span.Series, f.ID)
				byID[f.ID] = &columns{}
			}
		}
		if len(span.Series) == 0 {
			continue
		}
		err := db.Buckets(ctx, span, func(b store.Bucket) {
			c := byID[b.Series]
			c.at = append(c.at, (b.StartMs-q.since)/span.StepMs)
			c.min, c.max, c.avg = append(c.min, b.Min), append(c.max, b.Max), append(c.avg, b.Avg)
		})
		if err != nil {
			return nil, err
		}
	}
	out := fmt.Appendf(nil, `{"now_ms":%d,"since_ms":%d,"until_ms":%d,"step_ms":%d,"sampled_ms":%d,"series":[`,
		now.UnixMilli(), q.since, q.until, q.step.Milliseconds(), sample)
	first := true
	for _, f := range found {
		c := byID[f.ID]
		if len(c.at) == 0 {
			continue
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = fmt.Appendf(out, "\n"+`{"name":%s,"tags":%s,"steps":[`, name, tagsJSON(f.Tags))
		out = appendRuns(out, c.at)
		out = appendColumn(out, "avg", c.avg, chartDigits)
		if q.step >= extremesFrom {
			out = appendColumn(appendColumn(out, "min", c.min, chartDigits), "max", c.max, chartDigits)
		}
		out = append(out, "]}"...)
	}
	return append(out, "]}\n"...), nil
}

func appendColumn(out []byte, name string, values []float64, digits int) []byte {
	out = fmt.Appendf(out, `],%q:[`, name)
	for i, v := range values {
		out = appendDigits(comma(out, i), v, digits)
	}
	return out
}

// appendRuns appends ascending numbers as pairs of a first one and how many
// follow each other: 3 4 5 9 is 3,3,9,1.
func appendRuns(out []byte, numbers []int64) []byte {
	for i := 0; i < len(numbers); {
		n := 1
		for i+n < len(numbers) && numbers[i+n] == numbers[i]+int64(n) {
			n++
		}
		out = strconv.AppendInt(comma(out, i), numbers[i], 10)
		out = strconv.AppendInt(append(out, ','), int64(n), 10)
		i += n
	}
	return out
}
