package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// stick answers as a HiLink stick does: to who has no session with an error, in
// a page with status 200.
func stick(signal string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/webserver/SesTokInfo", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<response>\r\n<SesInfo>SessionID=abc+/9</SesInfo>\r\n<TokInfo>t0ken</TokInfo>\r\n</response>\r\n")
	})
	mux.HandleFunc("GET /api/device/signal", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "SessionID=abc+/9" {
			fmt.Fprint(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<error>\r\n<code>125002</code>\r\n<message></message>\r\n</error>\r\n")
			return
		}
		fmt.Fprint(w, signal)
	})
	return mux
}

const (
	lteSignal = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<response>\r\n<pci>123</pci>\r\n<sc></sc>\r\n<cell_id>1122867</cell_id>\r\n<rsrq>-10.5dB</rsrq>\r\n" +
		"<rsrp>-95dBm</rsrp>\r\n<rssi>&gt;=-51dBm</rssi>\r\n<sinr>12dB</sinr>\r\n<rscp></rscp>\r\n<ecio></ecio>\r\n<mode>7</mode>\r\n</response>\r\n"
	umtsSignal = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<response>\r\n<rsrq></rsrq>\r\n<rsrp></rsrp>\r\n<rssi>-73dBm</rssi>\r\n<sinr></sinr>\r\n<rscp>-80dBm</rscp>\r\n</response>\r\n"
)

// TestTheSignalOfAHiLinkStickIsStored runs the packaged script against a page
// that answers as a stick does, and the collector over what the script leaves.
func TestTheSignalOfAHiLinkStickIsStored(t *testing.T) {
	if !there("curl") {
		t.Skip("the script asks with curl")
	}
	var signal atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stick(signal.Load().(string)).ServeHTTP(w, r) }))
	defer server.Close()
	dir := t.TempDir()
	ask := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "../systemd/package/examples/hilink-signal", "lo", strings.TrimPrefix(server.URL, "http://"), dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	file := filepath.Join(dir, "hilink-lo.prom")
	for _, tt := range []struct{ signal, want string }{
		{lteSignal, "hilink_rsrp_dbm{interface=\"lo\"} -95\nhilink_rsrq_db{interface=\"lo\"} -10.5\nhilink_rssi_dbm{interface=\"lo\"} -51\nhilink_sinr_db{interface=\"lo\"} 12\n"},
		{umtsSignal, "hilink_rssi_dbm{interface=\"lo\"} -73\n"},
	} {
		signal.Store(tt.signal)
		if out, err := ask(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := os.ReadFile(file); string(got) != tt.want {
			t.Errorf("got  %s%v\nwant %s", got, err, tt.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}

	b := newBoard(t, "http://127.0.0.1:1", "", "")
	b.write(b.config, fmt.Appendf(nil, "device: {id: b}\nstorage: {path: %s}\nmetrics:\n- {name: textfile, config: {directory: %s}}\n", b.db, dir))
	if out, exit := b.command("metrics-collector", "-once"); exit != 0 {
		t.Errorf("%d: %s", exit, out)
	}
	if out, exit := b.command("metrics-collector", "-inspect"); exit != 0 || !strings.Contains(out, "hilink_rssi_dbm{\"interface\":\"lo\"}") ||
		!strings.Contains(out, "textfile.mtime_seconds{\"file\":\"hilink-lo.prom\"}") {
		t.Errorf("%d: %s", exit, out)
	}

	server.Close()
	if out, err := ask(); err == nil || !strings.Contains(out, "does not answer through lo") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the old values are still there: %v", err)
	}
}
