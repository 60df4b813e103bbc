package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
)

// storedSamples returns the delivered rows of a database as sorted text: wire
// name, labels, time and value.
func storedSamples(path string) ([]string, error) {
	out, err := query(path, "SELECT metric_name, device_id, tags, timestamp_ms, metric_value FROM metrics WHERE uploaded = 1")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)
		rest := f[2]
		i := strings.LastIndexByte(rest, '|')
		j := strings.LastIndexByte(rest[:i], '|')
		labels := map[string]string{}
		if tags := rest[:j]; tags != "" {
			if err := json.Unmarshal([]byte(tags), &labels); err != nil {
				return nil, fmt.Errorf("tags %q: %w", tags, err)
			}
		}
		labels["__name__"], labels["device_id"] = metric.WireName(f[0]), f[1]
		value, err := strconv.ParseFloat(rest[i+1:], 64)
		if err != nil {
			return nil, err
		}
		all = append(all, text(labels, rest[j+1:i], value))
	}
	slices.Sort(all)
	return all, nil
}

// exportedSamples returns everything that the server shows, in the same form,
// or everything it stores, before its deduplication.
func exportedSamples(server string, raw bool) ([]string, error) {
	params := url.Values{"match[]": {`{__name__!=""}`}}
	if raw {
		params.Set("reduce_mem_usage", "1")
	}
	resp, err := http.Get(server + "/api/v1/export?" + params.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var all []string
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var l struct {
			Metric     map[string]string
			Values     []float64
			Timestamps []int64
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%w in %q", err, lines.Text())
		}
		for i, v := range l.Values {
			all = append(all, text(l.Metric, strconv.FormatInt(l.Timestamps[i], 10), v))
		}
	}
	slices.Sort(all)
	return all, lines.Err()
}

func text(labels map[string]string, time string, value float64) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%s=%q ", k, labels[k])
	}
	fmt.Fprintf(&b, "%s %s", time, strconv.FormatFloat(value, 'g', -1, 64))
	return b.String()
}
