package collect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/promtext"
)

const (
	maxStreams     = 16
	maxPageSamples = 20_000 // of a page; few of them are about SRT
)

// receiverCollector reads the incoming streams from the SRT server on this machine.
type receiverCollector struct {
	page    page
	names   map[string]string // by the beginning of the hash
	streams choice
}

func newReceiver(cfg config.MetricConfig, key string) (*receiverCollector, error) {
	p, err := newPage(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("%s.url: %w", key, err)
	}
	c := &receiverCollector{page: p, names: map[string]string{}, streams: choice{most: maxStreams}}
	for _, n := range cfg.Names {
		hash, name, _ := strings.Cut(n, "=")
		c.names[hash] = name
	}
	return c, nil
}

// Collect returns receiver.streams, and the values of each stream that is published to
// the server. Values that a server does not report are missing.
func (c *receiverCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	body, err := c.page.get()
	if err != nil {
		return nil, fmt.Errorf("ask the SRT server: %w", err)
	}
	parse := parseMediaMTX
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		parse = c.parseSLS
	}
	streams, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the SRT server: %w", err)
	}
	r.add("receiver.streams", "", float64(len(streams)))
	tagged := c.tagged(streams)
	for _, tag := range c.streams.of(slices.Collect(maps.Keys(tagged))) {
		c.stream(&r, tag, tagged[tag])
	}
	r.dropped("receiver.srt", &c.streams)
	return r.done()
}

// tagged names each stream by a hash of its name. A person who knows the name of a stream
// can publish it, so the name is not sent: the tag is the beginning of its SHA-256, or
// the configured name for it.
func (c *receiverCollector) tagged(streams map[string]stream) map[string]stream {
	all := make(map[string]stream, len(streams))
	for publisher, s := range streams {
		sum := sha256.Sum256([]byte(publisher))
		tag := hex.EncodeToString(sum[:4])
		if name := c.names[tag]; name != "" {
			tag = name
		}
		all[tag] = s
	}
	return all
}

func (c *receiverCollector) stream(r *reading, tag string, s stream) {
	tags := metric.Tags("stream", tag)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if v := s[name]; metric.Finite(v) && v >= 0 && v < 1e15 {
			r.add(name, tags, v)
		} else {
			r.addf("%s of stream %s is %v; value skipped", name, tag, v)
		}
	}
}

// A stream is its values, by metric.
type stream map[string]float64

// slsFields are the fields of SLS and of servers based on it, with their metrics and
// factors.
var slsFields = map[string]struct {
	metric string
	times  float64
}{
	"bitrate":      {"receiver.bits_per_second", 1000},
	"rtt":          {"receiver.rtt_ms", 1},
	"pktRcvLoss":   {"receiver.lost_packets_total", 1},
	"pkt_rcv_loss": {"receiver.lost_packets_total", 1},
	"pktRcvDrop":   {"receiver.dropped_packets_total", 1},
	"pkt_rcv_drop": {"receiver.dropped_packets_total", 1},
	"dropped_pkts": {"receiver.dropped_packets_total", 1},
	"msRcvBuf":     {"receiver.buffer_ms", 1},
	"ms_rcv_buf":   {"receiver.buffer_ms", 1},
	"buffer":       {"receiver.buffer_ms", 1},
	"latency":      {"receiver.latency_ms", 1},
	"uptime":       {"receiver.uptime_seconds", 1},
}

// parseSLS reads {"publishers":{NAME:{"bitrate":4962,…}},"status":"ok"}, or the
// newer {"publisher":{…}} of one that the address names.
func (c *receiverCollector) parseSLS(body []byte) (map[string]stream, error) {
	var answer struct {
		Status     string
		Publishers map[string]map[string]json.RawMessage
		Publisher  map[string]json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New("not the JSON of an SRT server") // its own error quotes the text
	}
	if answer.Status != "ok" {
		return nil, fmt.Errorf("the status is %s, want ok", quote([]byte(answer.Status)))
	}
	if answer.Publisher != nil {
		answer.Publishers = map[string]map[string]json.RawMessage{c.page.path: answer.Publisher}
	}
	if answer.Publishers == nil {
		return nil, errors.New("neither publishers nor a publisher")
	}
	streams := map[string]stream{}
	for name, fields := range answer.Publishers {
		s := stream{}
		for field, raw := range fields {
			of, known := slsFields[field]
			if !known || string(raw) == "null" {
				continue
			}
			var v float64
			if err := json.Unmarshal(raw, &v); err != nil {
				v = math.NaN() // said when it is added
			}
			s[of.metric] = v * of.times
		}
		streams[name] = s
	}
	return streams, nil
}

// mediaMTX are the metrics of MediaMTX, with ours and the factors.
var mediaMTX = map[string]struct {
	metric string
	times  float64
}{
	"srt_conns_mbps_receive_rate":        {"receiver.bits_per_second", 1e6},
	"srt_conns_ms_rtt":                   {"receiver.rtt_ms", 1},
	"srt_conns_packets_received":         {"receiver.packets_total", 1},
	"srt_conns_packets_received_loss":    {"receiver.lost_packets_total", 1},
	"srt_conns_packets_received_drop":    {"receiver.dropped_packets_total", 1},
	"srt_conns_packets_received_retrans": {"receiver.retransmitted_packets_total", 1},
	"srt_conns_ms_receive_buf":           {"receiver.buffer_ms", 1},
	"srt_conns_ms_receive_tsb_pd_delay":  {"receiver.latency_ms", 1},
}

// parseMediaMTX reads the metrics of each connection that publishes, named after its
// path. Old versions have no path; then only a single stream can be reported.
func parseMediaMTX(body []byte) (map[string]stream, error) {
	samples, err := promtext.Parse(body, maxPageSamples)
	if err != nil {
		if where, ok := errors.AsType[*promtext.Error](err); ok {
			err = fmt.Errorf("line %d is not in Prometheus' text format", where.Line) // it may quote a name
		}
		return nil, err
	}
	streams, connections := map[string]stream{}, map[string]string{}
	for _, s := range samples {
		of, known := mediaMTX[s.Name]
		if !known && s.Name != "srt_conns" {
			continue
		}
		labels := map[string]string{}
		for _, l := range s.Labels {
			labels[l.Name] = l.Value
		}
		if labels["state"] != "publish" {
			continue
		}
		path := labels["path"]
		if other, taken := connections[path]; taken && other != labels["id"] {
			if path == "" {
				return nil, errors.New("several publishers and no path: this version of the server does not distinguish them")
			}
			continue // a second connection of one stream, while the first is not over
		}
		connections[path] = labels["id"]
		if streams[path] == nil {
			streams[path] = stream{}
		}
		if known {
			streams[path][of.metric] = s.Value * of.times
		}
	}
	return streams, nil
}
