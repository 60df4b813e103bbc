package collect

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
)

// secret is the name of a publisher, which is a credential.
const secret = "publish/live/s3cret"

func hashOf(publisher string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(publisher)))[:8]
}

// served runs the collector once against a server that answers so.
func served(t *testing.T, handler http.HandlerFunc, names ...string) (string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	c, err := newReceiver(config.MetricConfig{URL: server.URL + "/stats", Names: names}, "config")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	samples, err := c.Collect(now)
	for _, s := range samples {
		if _, ok := metric.Lookup(s.Name); !ok {
			t.Errorf("%s is not in the catalogue", s.Name)
		}
	}
	return text(t, samples, now), err
}

func body(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

func TestTheStatisticsOfAnSRTServerAreReadInEachShape(t *testing.T) {
	studio := hashOf(secret)
	for _, tt := range []struct {
		name, body string
		names      []string
		want       string
		failed     int
	}{
		{
			"SLS", `{"publishers":{"` + secret + `":{"bitrate":4962,"bytesRcvDrop":0,"latency":200,"mbpsBandwidth":542.5,"msRcvBuf":182,"pktRcvDrop":3,"pktRcvLoss":281,"rtt":12.702,"uptime":13}},"status":"ok"}`,
			nil,
			`receiver.streams 1
receiver.bits_per_second{"stream":"HASH"} 4962000
receiver.buffer_ms{"stream":"HASH"} 182
receiver.dropped_packets_total{"stream":"HASH"} 3
receiver.latency_ms{"stream":"HASH"} 200
receiver.lost_packets_total{"stream":"HASH"} 281
receiver.rtt_ms{"stream":"HASH"} 12.702
receiver.uptime_seconds{"stream":"HASH"} 13
`, 0,
		},
		{
			"a stream with a name", `{"publishers":{"` + secret + `":{"pkt_rcv_loss":1}},"status":"ok"}`,
			[]string{studio + "=studio"},
			"receiver.streams 1\nreceiver.lost_packets_total{\"stream\":\"studio\"} 1\n", 0,
		},
		{"nobody publishes", `{"publishers":{},"status":"ok"}`, nil, "receiver.streams 0\n", 0},
		{"what is not there is missing", `{"publishers":{"` + secret + `":{"rtt":null}},"status":"ok"}`, nil, "receiver.streams 1\n", 0},
		{"a text for a number", `{"publishers":{"` + secret + `":{"rtt":"12","bitrate":-1}},"status":"ok"}`, nil, "receiver.streams 1\n", 2},
		{"one stream", `{"publisher":{"bitrate":1,"buffer":1995,"dropped_pkts":45,"rtt":30.2,"uptime":3600,"latency":2000},"status":"ok"}`, []string{hashOf("/stats") + "=only"}, `receiver.streams 1
receiver.bits_per_second{"stream":"only"} 1000
receiver.buffer_ms{"stream":"only"} 1995
receiver.dropped_packets_total{"stream":"only"} 45
receiver.latency_ms{"stream":"only"} 2000
receiver.rtt_ms{"stream":"only"} 30.2
receiver.uptime_seconds{"stream":"only"} 3600
`, 0},
		{"not allowed", `{"status":"error","message":"` + secret + `"}`, nil, "", 1},
		{"cut short", `{"publishers":{"` + secret + `":{"bitrate":1`, nil, "", 1},
		{"a page for people", "<html>" + secret + "</html>", nil, "", 1},
		{"MediaMTX, and who only watches", `paths{name="` + secret + `",state="ready"} 1
srt_conns{id="1",path="` + secret + `",remoteAddr="192.0.2.1:1",state="publish"} 1
srt_conns_ms_rtt{id="1",path="` + secret + `",remoteAddr="192.0.2.1:1",state="publish"} 42.5
srt_conns_mbps_receive_rate{id="1",path="` + secret + `",remoteAddr="192.0.2.1:1",state="publish"} 5.9
srt_conns_ms_rtt{id="2",path="` + secret + `",remoteAddr="192.0.2.1:2",state="read"} 99
srt_conns_ms_rtt{id="3",path="` + secret + `",remoteAddr="192.0.2.1:3",state="publish"} 77
`, nil, "receiver.streams 1\nreceiver.bits_per_second{\"stream\":\"HASH\"} 5900000\nreceiver.rtt_ms{\"stream\":\"HASH\"} 42.5\n", 0},
		{
			"an old MediaMTX", "srt_conns_bytes_received{id=\"1\",state=\"publish\"} 9\nsrt_conns_ms_rtt{id=\"1\",state=\"publish\"} 42\n",
			[]string{hashOf("") + "=only"},
			"receiver.streams 1\nreceiver.rtt_ms{\"stream\":\"only\"} 42\n", 0,
		},
		{"an old MediaMTX with two", "srt_conns_ms_rtt{id=\"1\",state=\"publish\"} 42\nsrt_conns_ms_rtt{id=\"2\",state=\"publish\"} 43\n", nil, "", 1},
		{"MediaMTX without SRT", "paths{name=\"x\"} 1\n", nil, "receiver.streams 0\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := served(t, body(tt.body), tt.names...)
			if d := cmp.Diff(strings.ReplaceAll(tt.want, "HASH", studio), got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if Failed(err) != tt.failed {
				t.Errorf("%d failed: %v; want %d", Failed(err), err, tt.failed)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") || strings.Contains(got, "s3cret") {
				t.Errorf("the name of a publisher is told: %v %s", err, got)
			}
		})
	}
}

func TestAnInvalidAnswerIsOneFailedReading(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"404": http.NotFound,
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				w.Write(make([]byte, 64<<10))
			}
		},
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"publishers":{},"status":"ok"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			got, err := served(t, handler)
			if got != "" || Failed(err) != 1 || strings.Contains(err.Error(), "/stats") {
				t.Errorf("%s, %v", got, err)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c, err := newReceiver(config.MetricConfig{URL: "http://" + address + "/stats?publisher=s3cret"}, "config")
	if err != nil {
		t.Fatal(err)
	}
	if samples, err := c.Collect(time.Now()); len(samples) > 0 || Failed(err) != 1 || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("nobody listens: %d samples, %v", len(samples), err)
	}
}

func TestOnlyThisMachineIsAsked(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:8181/stats": true, "http://127.9.8.7/": true, "http://[::1]:8181/stats?a=b": true, "http://LOCALHOST:9998/metrics": true, "http://[::ffff:127.0.0.1]/": true,
		"http://192.168.8.1/": false, "https://127.0.0.1/": false, "http://example.com/": false, "http://localhost.example.com/": false, "http://0.0.0.0/": false,
		"http://user:pw@127.0.0.1/": false, "http://[fe80::1%25lo]/": false, "unix:///run/x": false, "": false, "http://127.0.0.1:1/#x": false, "http://2130706433/": false,
	} {
		if _, err := newPage(address); (err == nil) != want {
			t.Errorf("%q: %v, want %t", address, err, want)
		}
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, "device: {id: b}\nmetrics:\n- name: receiver.srt\n  config: {url: %q}\n", address), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); (err == nil) != (want || address == "") {
			t.Errorf("in the configuration, %q: %v, want %t", address, err, want)
		} else if err != nil && !strings.Contains(err.Error(), "config.url: want an http URL of this machine") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestWithoutAnAddressTheReceiverIsNotCollected(t *testing.T) {
	for _, c := range mustAll(t, rootsOf(t, nil)) {
		if c.Name == "receiver.srt" {
			t.Error("it is collected")
		}
	}
}

func TestARecordedPageOfMediaMTXIsRead(t *testing.T) {
	root := os.Getenv("METRICS_FIXTURES")
	if root == "" {
		t.Skip("METRICS_FIXTURES names no directory")
	}
	page, err := os.ReadFile(filepath.Join(root, "encoder/receiver/mediamtx.prom"))
	if err != nil {
		t.Skip(err)
	}
	got, err := served(t, body(string(page)), hashOf("mypath")+"=s")
	want := `receiver.streams 1
receiver.bits_per_second{"stream":"s"} 5900000
receiver.dropped_packets_total{"stream":"s"} 2
receiver.latency_ms{"stream":"s"} 2000
receiver.lost_packets_total{"stream":"s"} 20
receiver.packets_total{"stream":"s"} 200
receiver.retransmitted_packets_total{"stream":"s"} 3
receiver.rtt_ms{"stream":"s"} 42.5
`
	if got != want || err != nil {
		t.Errorf("%v, got %s", err, got)
	}
}

func FuzzAnswerOfAReceiver(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.0 200\n\n{\"publishers\":{\"a\":{\"rtt\":1}},\"status\":\"ok\"}"))
	f.Add([]byte("HTTP/1.0 200\n\nsrt_conns{state=\"publish\"} 1\n"))
	c, err := newReceiver(config.MetricConfig{URL: "http://127.0.0.1/"}, "config")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := readPage(strings.NewReader(string(answer)))
		if err != nil {
			return
		}
		for _, parse := range []func([]byte) (map[string]stream, error){c.parseSLS, parseMediaMTX} {
			streams, err := parse(got)
			if err != nil {
				continue
			}
			r := newReading(time.Now())
			for tag, s := range c.tagged(streams) {
				c.stream(&r, tag, s)
			}
			text(t, r.samples, time.UnixMilli(r.timeMs))
		}
	})
}
