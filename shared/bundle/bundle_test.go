package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/inspect"
	"github.com/taniwha3/thugshells/shared/journal/journaltest"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// What must not leave the board, as it may stand in texts of any kind.
const (
	token    = "s3cr3t-T0ken.value"
	imei     = "356938035643809"
	iccid    = "8944500102198304826"
	streamID = "live/abc123secret"
	phrase   = "correct-horse-battery"
)

var private = []string{token, imei, iccid, streamID, "abc123secret", phrase, "hunter2", "s3cr3t"}

// unpack returns the files of a bundle, and writes them into dir.
func unpack(t *testing.T, packed []byte, dir string) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(h.Name)
		files[name] = string(text)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABundleContainsEverythingExceptPrivateValues(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	cfg := config.Default()
	cfg.Device.ID, cfg.Storage.Path = "board-1", filepath.Join(dir, "metrics.db")
	cfg.Remote.URL = "https://user:hunter2@vm.example/api/v1/import?token=" + token
	cfg.Logging.Output = filepath.Join(dir, "log")
	log := `{"level":"WARN","msg":"srt","url":"srt://ingest.example:4000?streamid=` + streamID + `&passphrase=` + phrase + `"}
srtla: streamid: ` + streamID + `
modem 0: IMEI ` + imei + `, SIM ` + iccid + `
Authorization: Bearer ` + token + `
an ordinary line with 1793000000000 in it
`
	if err := os.WriteFile(cfg.Logging.Output, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), cfg.Storage.Path, store.Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	var samples []metric.Sample
	for i := range 1000 {
		samples = append(samples, metric.Sample{
			Name: "cpu.usage_percent", Tags: metric.Tags("core", "0"), TimeMs: now.Add(-time.Duration(i) * time.Second).UnixMilli(), Value: float64(i),
		})
	}
	samples = append(samples,
		metric.Sample{Name: "modem.rssi_dbm", Tags: metric.Tags("imei", imei, "streamid", streamID, "url", "srt://x?passphrase="+phrase), TimeMs: now.UnixMilli(), Value: -70},
		metric.Sample{Name: "network.rx_bytes_total", Tags: metric.Tags("interface", "wwan0"), TimeMs: now.UnixMilli(), Value: 123456789012345},
		metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", "0"), TimeMs: now.Add(-window - time.Minute).UnixMilli(), Value: 1},
	)
	row := status.NewComponent(status.Daemon{Name: "metrics-shipper"}, status.ShipperRow, time.Second)
	row.Fail(status.Moment{Wall: now}, io.ErrUnexpectedEOF, 1)
	failing := row.Row()
	failing.Error = "the server said: token " + token + " of " + imei
	failing.Detail = `{"misconfigured":"passphrase=` + phrase + `","outcome":"later"}`
	_, err = db.Record(t.Context(), store.Update{
		Status: []status.Row{failing},
		Groups: []store.Group{{Samples: samples, Events: []metric.Event{{
			TimeMs: now.UnixMilli(), Source: "encoder", Name: "connected", Text: "to srt://ingest?streamid=" + streamID + " with " + imei,
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}

	var packed bytes.Buffer
	in := Input{Config: cfg, Now: now, Secrets: []string{token}, Versions: "metrics-health 1.0\n", Health: []byte(`{"status":"ok","last_error":"Bearer ` + token + `"}`)}
	if err := Write(t.Context(), &packed, in); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	files := unpack(t, packed.Bytes(), out)
	for name, text := range files {
		for _, p := range private {
			if i := strings.Index(text, p); i >= 0 {
				t.Errorf("%s has %s: …%q…", name, p, text[max(0, i-80):min(len(text), i+40)])
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON any more:\n%.500s", name, text)
		}
	}
	for name, want := range map[string]string{
		"LIST.txt":      "samples.jsonl",
		"health.json":   `"status":"ok"`,
		"versions.txt":  "metrics-health 1.0",
		"config.yaml":   "vm.example/api/v1/import",
		"state.json":    `"Captured": 1003`,
		"samples.jsonl": `"__name__":"network_rx_bytes_total","device_id":"board-1"`,
		"inspect.txt":   "cpu.usage_percent",
		"log.txt":       "an ordinary line with 1793000000000 in it",
		"metrics.db":    "SQLite format 3",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("no %q in %s:\n%.600s", want, name, files[name])
		}
	}
	if strings.Contains(files["LIST.txt"], "missing") {
		t.Error(files["LIST.txt"])
	}
	if !strings.Contains(files["samples.jsonl"], "123456789012345") {
		t.Error("a value was taken for the number of a device")
	}

	// It is opened again as any database is.
	var report strings.Builder
	if sound, err := inspect.Report(t.Context(), &report, filepath.Join(out, "metrics.db"), 5); err != nil || !sound {
		t.Errorf("inspected: %v %v\n%s", sound, err, &report)
	}
	exported, err := inspect.Export(t.Context(), io.Discard, filepath.Join(out, "metrics.db"), 0)
	if err != nil || exported.Samples != 1002 {
		t.Errorf("exported %+v, %v; want the 1002 samples of the window", exported, err)
	}
}

func TestABundleWithoutADatabaseNamesWhatIsMissing(t *testing.T) {
	cfg := config.Default()
	cfg.Device.ID, cfg.Storage.Path = "board-1", filepath.Join(t.TempDir(), "none", "metrics.db")
	var packed bytes.Buffer
	if err := Write(t.Context(), &packed, Input{Config: cfg, Now: time.Now(), Health: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, packed.Bytes(), t.TempDir())
	for _, name := range []string{"metrics.db", "samples.jsonl", "state.json", "log.txt"} {
		if !strings.Contains(files["LIST.txt"], name+strings.Repeat(" ", 17-len(name))+"missing: ") {
			t.Errorf("%s is not named as missing:\n%s", name, files["LIST.txt"])
		}
	}
	if files["config.yaml"] == "" || files["health.json"] == "" {
		t.Error("what can be had is not in it")
	}
}

func TestABundleDoesNotWaitForAPipeAndRemovesControlCharacters(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Device.ID, cfg.Storage.Path = "board\u202e1", filepath.Join(dir, "none", "metrics.db")
	bundle := func() map[string]string {
		var packed bytes.Buffer
		in := Input{Config: cfg, Now: time.Now(), Health: []byte("{\"a\":\"\u202eb\u009b\"}"), Versions: "kernel \x1b[31m\n"}
		if err := Write(t.Context(), &packed, in); err != nil {
			t.Fatal(err)
		}
		files := unpack(t, packed.Bytes(), t.TempDir())
		for name, text := range files {
			if strings.ContainsAny(text, "\x1b\x7f\u009b\u202e") {
				t.Errorf("%s: %q", name, text)
			}
		}
		return files
	}
	cfg.Logging.Output = filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(cfg.Logging.Output, 0o600); err != nil {
		t.Fatal(err)
	}
	if list := bundle()["LIST.txt"]; !strings.Contains(list, "pipe: want a regular file, got a FIFO") {
		t.Errorf("the list:\n%s", list)
	}
	cfg.Logging.Output = filepath.Join(dir, "log")
	if err := os.WriteFile(cfg.Logging.Output, []byte("a line\x1b]0;x\a\x7f\u009b31m\u202e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, want := bundle()["log.txt"], "a line\\u001b]0;x\\u0007\\u007f\\u009b31m\\u202e\n"; text != want {
		t.Errorf("the log: %q", text)
	}
}

func TestTheScrubber(t *testing.T) {
	s := newScrubber([]string{token, "abc"})
	for in, want := range map[string]string{
		"nothing of interest, upload_interval: 30s":   "nothing of interest, upload_interval: 30s",
		"x " + token + " y":                           "x [removed] y",
		`{"token": "a\"b", "n": 1}`:                   `{"token": "[removed]", "n": 1}`,
		`"text":"{\"passphrase\":\"x y\"}"`:           `"text":"{\"passphrase\":\"[removed]\"}"`,
		"streamid=a/b,c=d":                            "streamid=[removed],c=d",
		"Stream-ID: 'q r'":                            "Stream-ID: '[removed]'",
		"https://u:p@h/x?y=z#f":                       "https://[removed]@h/x?[removed]",
		"Authorization: Basic dXNlcjpwYXNz and more":  "Authorization: [removed] [removed] and more",
		"imei 356938035643809.":                       "imei [removed].",
		"at 1793000000000 ms, 1793000000 s, 12345678": "at 1793000000000 ms, 1793000000 s, 12345678",
		"token_file: /etc/token":                      "token_file: /etc/token",
		"password_file: \"\"":                         "password_file: \"\"",
	} {
		if got := s.text(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// The log of a bundle is what `journalctl -u` shows of the three units: their own
// lines, and those of systemd about them; others' lines are not.
func TestTheLogIsOfTheDaemonsAndOfSystemdAboutThem(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration, fields ...string) journaltest.Entry {
		return journaltest.Entry{Realtime: now.Add(-ago).UnixMicro(), Monotonic: time.Hour.Microseconds(), Boot: strings.Repeat("ab", 16), Fields: fields}
	}
	machine := filepath.Join(t.TempDir(), strings.Repeat("12", 16))
	if err := os.Mkdir(machine, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(machine, "system.journal"), journaltest.Bytes(true, []journaltest.Entry{
		at(7*time.Hour, "_SYSTEMD_UNIT=metrics-shipper.service", "PRIORITY=6", "MESSAGE=too old"),
		at(3*time.Minute, "_SYSTEMD_UNIT=metrics-shipper.service", "PRIORITY=4", "MESSAGE=no answer endpoint=x"),
		at(2*time.Minute, "_SYSTEMD_UNIT=ssh.service", "PRIORITY=6", "MESSAGE=Accepted"),
		at(time.Minute, "_SYSTEMD_UNIT=init.scope", "UNIT=metrics-shipper.service", "PRIORITY=6", "MESSAGE=Stopped metrics-shipper.service"),
		at(time.Second, "_SYSTEMD_UNIT=init.scope", "UNIT=ssh.service", "PRIORITY=6", "MESSAGE=Stopped ssh.service"),
	}), 0o600); err != nil {
		t.Fatal(err)
	}
	in := Input{Config: config.Default(), Journals: []string{machine}, Now: now}
	got, err := in.log()
	stamp := func(ago time.Duration) string { return now.Add(-ago).UTC().Format(time.RFC3339) }
	want := stamp(3*time.Minute) + " metrics-shipper <4> no answer endpoint=x\n" + stamp(time.Minute) + " systemd <6> Stopped metrics-shipper.service\n"
	if got != want || err != nil {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}
