package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEveryFaultNamesItsLineAndKey checks the whole text of the error.
func TestEveryFaultNamesItsLineAndKey(t *testing.T) {
	const (
		sections  = "want device, host, storage, time, remote, health, logging, monitoring or metrics"
		aURL      = "want an http or https URL with a host, such as http://localhost:8428/api/v1/import, got "
		pattern   = "want a regular expression for the whole name such as eth.*, got "
		anAddress = "want an address such as 127.0.0.1, with a port or without, got "
		endpoint  = "want a path such as /health, other than /, /metrics, /health/live, /health/ready and those under /api, got "
		label     = "want at most 256 bytes without control characters or spaces around them, got "
	)
	var names []string
	for _, m := range DefaultMetrics() {
		names = append(names, m.Name)
	}
	collector := "want " + orList(names)
	for _, c := range []struct{ name, file, want string }{
		// keys
		{"unknown section", "x: 1\n", "1: x: no such key; " + sections},
		{"misspelt section", "remot:\n  url: 1\n", "1: remot: no such key; did you mean remote?"},
		{"misspelt key", "remote:\n\n  uplod_interval: 30s\n", "3: remote.uplod_interval: no such key; did you mean upload_interval?"},
		{"key of another section", "upload_interval: 30s\n", "1: upload_interval: no such key; did you mean remote.upload_interval?"},
		{"key of two sections", "remote:\n  path: a\n", "2: remote.path: no such key; did you mean storage.path or health.path?"},
		{"key of an entry", "priority: 1\n", "1: priority: no such key; did you mean metrics[].priority?"},
		{"unknown key", "logging:\n  colour: true\n", "2: logging.colour: no such key; want level, format or output"},
		{"odd key", "\"a b\\tc\": 1\n", `1: "a b\tc": no such key; ` + sections},
		{"empty key", "'': 1\n", `1: "": no such key; ` + sections},
		{"merge key", "remote:\n  <<: {url: x}\n", `2: remote."<<": no such key; want url, enabled, upload_interval, timeout, compression, batch_size, chunk_size, retry, backfill, max_kbps, max_bytes_per_day, busy_kbps, settle, server_retention, token_file, basic_auth, ca_file, client_cert, client_key, pins, allow_plaintext_token or any_path`},
		{"list for a key", "? [a]\n: 1\n", "1: want a word for a key, got a list"},
		{"key twice", "remote:\n  url: http://a/\n  enabled: true\n  url: http://b/\n", "4: remote.url: given twice, first on line 2; want it once"},
		{"section twice", "device: {id: a}\nhost:\ndevice: {id: b}\n", "3: device: given twice, first on line 1; want it once"},

		// types
		{"text for a section", "remote: http://x/\n", `1: remote: want keys and values, got "http://x/"`},
		{"list for a section", "remote: [1]\n", "1: remote: want keys and values, got a list"},
		{"text at the top", "hello\n", `1: want keys and values, got "hello"`},
		{"list at the top", "# c\n- a\n", "2: want keys and values, got a list"},
		{"number at the top", "12\n", "1: want keys and values, got 12"},
		{"no unit", "remote:\n  timeout: 30\n", "2: remote.timeout: want a duration of 1s to 10m such as 30s, got 30"},
		{"zero without a unit", "remote:\n  timeout: 0\n", "2: remote.timeout: want a duration of 1s to 10m such as 30s, got 0"},
		{"unknown unit", "remote:\n  timeout: 30x\n", `2: remote.timeout: want a duration of 1s to 10m such as 30s, got "30x"`},
		{"day", "storage:\n  wal_checkpoint_interval: 1d\n", `2: storage.wal_checkpoint_interval: want a duration of 1s to 24h such as 1h, got "1d"`},
		{"negative duration", "remote:\n  upload_interval: -1s\n", `2: remote.upload_interval: want a duration of 1s to 24h such as 30s, got "-1s"`},
		{"long duration", "remote:\n  upload_interval: 24h1s\n", `2: remote.upload_interval: want a duration of 1s to 24h such as 30s, got "24h1s"`},
		{"overflowing duration", "remote:\n  upload_interval: 9999999999h\n", `2: remote.upload_interval: want a duration of 1s to 24h such as 30s, got "9999999999h"`},
		{"null duration", "remote:\n  upload_interval:\n", "2: remote.upload_interval: want a duration of 1s to 24h such as 30s, got nothing"},
		{"list for a duration", "remote:\n  upload_interval: [1s]\n", "2: remote.upload_interval: want a duration of 1s to 24h such as 30s, got a list"},
		{"default in a duration's fault", "metrics:\n- name: disk.usage\n  interval: 5\n", "3: metrics[0].interval: want a duration of 1s to 24h such as 1m, got 5"},
		{"text for a number", "remote:\n  batch_size: many\n", `2: remote.batch_size: want a whole number of 1 to 100000, got "many"`},
		{"quoted number", "remote:\n  batch_size: '100'\n", `2: remote.batch_size: want a whole number of 1 to 100000, got "100"`},
		{"fraction", "remote:\n  batch_size: 1.5\n", "2: remote.batch_size: want a whole number of 1 to 100000, got 1.5"},
		{"octal", "remote:\n  batch_size: 0100\n", "2: remote.batch_size: want a whole number of 1 to 100000, got 0100"},
		{"hexadecimal", "remote:\n  batch_size: 0x64\n", "2: remote.batch_size: want a whole number of 1 to 100000, got 0x64"},
		{"zero", "remote:\n  batch_size: 0\n", "2: remote.batch_size: want a whole number of 1 to 100000, got 0"},
		{"negative number", "health:\n  port: -1\n", "2: health.port: want a whole number of 0 to 65535, got -1"},
		{"big port", "health:\n  port: 65536\n", "2: health.port: want a whole number of 0 to 65535, got 65536"},
		{"huge number", "remote:\n  batch_size: 99999999999999999999\n", "2: remote.batch_size: want a whole number of 1 to 100000, got 99999999999999999999"},
		{"null number", "remote:\n  batch_size: ~\n", "2: remote.batch_size: want a whole number of 1 to 100000, got nothing"},
		{"not a number", "remote: {retry: {jitter_percent: .nan}}\n", "1: remote.retry.jitter_percent: want a number of 0 to 100, got .nan"},
		{"infinite", "remote: {retry: {jitter_percent: .inf}}\n", "1: remote.retry.jitter_percent: want a number of 0 to 100, got .inf"},
		{"small multiplier", "remote: {retry: {backoff_multiplier: 0.5}}\n", "1: remote.retry.backoff_multiplier: want a number of 1 to 10, got 0.5"},
		{"yes for true", "remote:\n  enabled: yes\n", `2: remote.enabled: want true or false, got "yes"`},
		{"number for true", "remote:\n  enabled: 1\n", "2: remote.enabled: want true or false, got 1"},
		{"null for true", "remote:\n  enabled:\n", "2: remote.enabled: want true or false, got nothing"},
		{"number for a text", "device:\n  id: 42\n", "2: device.id: want a text in quotes, got 42"},
		{"date for a text", "device:\n  id: 2026-01-01\n", "2: device.id: want a text in quotes, got 2026-01-01"},
		{"null for a text", "storage:\n  path:\n", "2: storage.path: want a path, got nothing"},
		{"binary", "device:\n  id: !!binary aWQ=\n", `2: device.id: want a text in quotes, got a value with the tag "!!binary"`},
		{"own tag", "device:\n  id: !x y\n", `2: device.id: want a text in quotes, got a value with the tag "!x"`},
		{"alias", "device: {id: &a x}\nstorage:\n  path: *a\n", "3: storage.path: want the value written out, got an alias (*)"},
		{"alias of a section", "device: &d {id: x}\nhost: *d\n", "2: host: want the value written out, got an alias (*)"},

		// words and texts
		{"level", "logging:\n  level: verbose\n", `2: logging.level: want debug, info, warn or error, got "verbose"`},
		{"level in capitals", "logging:\n  level: INFO\n", `2: logging.level: want debug, info, warn or error, got "INFO"`},
		{"format", "logging:\n  format: text\n", `2: logging.format: want auto, json, journal or console, got "text"`},
		{"output", "logging:\n  output: ''\n", `2: logging.output: want a path, got ""`},
		{"synchronous", "storage:\n  synchronous: off\n", `2: storage.synchronous: want full or normal, got "off"`},
		{"database in a filesystem of the kernel", "storage:\n  path: /dev/../proc/metrics.db\n", `2: storage.path: want a path outside /dev, /proc and /sys, got "/dev/../proc/metrics.db"`},
		{"database in memory", "storage:\n  path: /dev/shm/metrics.db\n", `2: storage.path: want a path outside /dev, /proc and /sys, got "/dev/shm/metrics.db"`},
		{"database at a mountpoint", "storage:\n  path: /sys\n", `2: storage.path: want a path outside /dev, /proc and /sys, got "/sys"`},
		{"log to a device", "logging:\n  output: /dev/tty1\n", `2: logging.output: want a path outside /dev, /proc and /sys, got "/dev/tty1"`},
		{"NUL in a path", "storage:\n  path: \"a\\0b\"\n", `2: storage.path: want a path outside /dev, /proc and /sys, got "a\x00b"`},
		{"control character in the id", "device:\n  id: \"a\\nb\"\n", "2: device.id: " + label + `"a\nb"`},
		{"spaces around the id", "device:\n  id: ' a'\n", "2: device.id: " + label + `" a"`},
		{"long id", "device:\n  id: " + strings.Repeat("x", 257) + "\n", "2: device.id: " + label + `"` + strings.Repeat("x", 60) + `"…`},
		{"scheme", "remote:\n  url: ftp://a/\n", "2: remote.url: " + aURL + "one of another scheme or of none"},
		{"no scheme", "remote:\n  url: localhost:8428\n", "2: remote.url: " + aURL + "one of another scheme or of none"},
		{"no host", "remote:\n  url: http:///x\n", "2: remote.url: " + aURL + "one without a host"},
		{"only a port", "remote:\n  url: http://:8428/x\n", "2: remote.url: " + aURL + "one without a host"},
		{"fragment", "remote:\n  url: http://a/x#y\n", "2: remote.url: " + aURL + "one with a fragment (#)"},
		{"a colon without a port", "remote:\n  url: http://a:/x\n", "2: remote.url: " + aURL + "one without a port behind its colon"},
		{"a scheme twice", "remote:\n  url: http://http://a/x\n", "2: remote.url: " + aURL + "one without a port behind its colon"},
		{"port of a URL", "remote:\n  url: http://a:99999/\n", "2: remote.url: " + aURL + "one with a port over 65535"},
		{"not a URL", "remote:\n  url: 'http://a b/'\n", "2: remote.url: " + aURL + "one with white space in it"},
		{"space in a path", "remote:\n  url: 'http://a/api/v1/import '\n", "2: remote.url: " + aURL + "one with white space in it"},
		{"no-break space in a URL", "remote:\n  url: \"http://a/api/v1/import\\u00a0\"\n", "2: remote.url: " + aURL + "one with white space in it"},
		{"not a URL", "remote:\n  url: 'http://a%zz/'\n", "2: remote.url: " + aURL + "text that is not a URL"},
		{"empty URL", "remote:\n  url: ''\n", "2: remote.url: " + aURL + "an empty text"},
		{"credentials", "remote:\n  url: http://me:hunter2@a/\n", "2: remote.url: " + aURL + "one with a user name or password in it"},
		{"listen", "health:\n  listen: 300.1.1.1\n", "2: health.listen: " + anAddress + `"300.1.1.1"`},
		{"listen port", "health:\n  listen: 127.0.0.1:http\n", "2: health.listen: " + anAddress + `"127.0.0.1:http"`},
		{"listen empty", "health:\n  listen: ''\n", "2: health.listen: " + anAddress + `""`},
		{"listen everywhere", "health:\n  listen: :9300\n", `2: health.listen: want 0.0.0.0 or [::] to open it everywhere, got ":9300"`},
		{"relative procfs", "host:\n  procfs: proc\n", `2: host.procfs: want an absolute path such as /proc, got "proc"`},
		{"relative sysfs", "host:\n  sysfs: ./sys\n", `2: host.sysfs: want an absolute path such as /proc, got "./sys"`},
		{"empty procfs", "host:\n  procfs: ''\n", `2: host.procfs: want an absolute path such as /proc, got ""`},
		{"relative endpoint", "health:\n  path: health\n", "2: health.path: " + endpoint + `"health"`},
		{"endpoint in use", "health:\n  path: /health/live\n", "2: health.path: " + endpoint + `"/health/live"`},
		{"endpoint of the page", "health:\n  path: /\n", "2: health.path: " + endpoint + `"/"`},
		{"endpoint with dots", "health:\n  path: /a/../b\n", "2: health.path: " + endpoint + `"/a/../b"`},
		{"endpoint pattern", "health:\n  path: /{x}\n", "2: health.path: " + endpoint + `"/{x}"`},

		// metrics
		{"no list", "metrics: cpu.usage\n", `1: metrics: want a list of collectors, or [] for none, got "cpu.usage"`},
		{"no entry", "metrics:\n- cpu.usage\n", `2: metrics[0]: want a collector such as {name: cpu.usage}, got "cpu.usage"`},
		{"null entry", "metrics:\n-\n", "2: metrics[0]: want a collector such as {name: cpu.usage}, got nothing"},
		{"no name", "metrics:\n- interval: 1s\n", "2: metrics[0].name: " + collector + ", got nothing"},
		{"number for a name", "metrics:\n- name: 7\n", "2: metrics[0].name: want a text in quotes, got 7"},
		{"unknown collector", "metrics:\n- name: cpu.usage\n- interval: 1s\n  name: srt.packet_loss\n", "4: metrics[1].name: " + collector + `, got "srt.packet_loss"`},
		{"collector twice", "metrics:\n- name: cpu.usage\n- name: cpu.usage\n", "3: metrics[1].name: cpu.usage is given twice, first on line 2; want it once"},
		{"unknown key of an entry", "metrics:\n- name: cpu.usage\n  intervall: 1s\n", "3: metrics[0].intervall: no such key; did you mean interval?"},
		{"priority", "metrics:\n- {name: cpu.usage, priority: 4}\n", "2: metrics[0].priority: want a whole number of 0 to 3, got 4"},
		{"key of another collector", "metrics:\n- name: cpu.usage\n  config:\n    max_interfaces: 3\n", "4: metrics[0].config.max_interfaces: a key of network.traffic or network.health; cpu.usage has no such key"},
		{"unknown key of a collector", "metrics:\n- name: disk.io\n  config: {disks: sda}\n", "3: metrics[0].config.disks: no such key; want " + orList(namesOf(reflect.TypeFor[MetricConfig]()))},
		{"bad pattern", "metrics:\n- name: network.traffic\n  config:\n    exclude_ifaces:\n    - lo\n    - (\n", "6: metrics[0].config.exclude_ifaces[1]: " + pattern + `"(" (missing closing ))`},
		{"pattern that leaves its anchors", "metrics:\n- name: network.traffic\n  config:\n    include_ifaces: ['a)(b']\n", "4: metrics[0].config.include_ifaces[0]: " + pattern + `"a)(b" (unexpected ))`},
		{"empty pattern", "metrics:\n- name: network.traffic\n  config:\n    include_ifaces: ['']\n", "4: metrics[0].config.include_ifaces[0]: " + pattern + `""`},
		{"null pattern", "metrics:\n- name: network.traffic\n  config:\n    include_ifaces: [~]\n", "4: metrics[0].config.include_ifaces[0]: " + pattern + "nothing"},
		{"bad device pattern", "metrics:\n- name: disk.io\n  config:\n    allowed_devices: '[z-a]'\n", "4: metrics[0].config.allowed_devices: " + pattern + `"[z-a]" (invalid character class range)`},
		{"text for a list", "metrics:\n- name: network.traffic\n  config:\n    exclude_ifaces: lo\n", `4: metrics[0].config.exclude_ifaces: want a list such as [a, b], or [] for none, got "lo"`},
		{"null list", "metrics:\n- name: network.traffic\n  config:\n    exclude_ifaces:\n", "4: metrics[0].config.exclude_ifaces: want a list such as [a, b], or [] for none, got nothing"},
		{"long list", "metrics:\n- name: network.traffic\n  config:\n    exclude_ifaces: [" + strings.Repeat("a,", 257) + "]\n", "4: metrics[0].config.exclude_ifaces: want at most 256 items, got 257"},
		{"relative mountpoint", "metrics:\n- name: disk.usage\n  config:\n    mountpoints: [/, var]\n", `4: metrics[0].config.mountpoints[1]: want an absolute path such as /var, got "var"`},

		// two keys together
		{"chunk over batch", "remote:\n  batch_size: 60\n  chunk_size: 61\n", "3: remote.chunk_size: want at most remote.batch_size, which is 60, got 61"},
		{"batch under the default chunk", "remote:\n  batch_size: 40\n", "2: remote.batch_size: want at least remote.chunk_size, which is 50, got 40"},
		{"backoff", "remote:\n  retry:\n    initial_backoff: 2m\n", "3: remote.retry.initial_backoff: want at most remote.retry.max_backoff, which is 1m, got 2m"},
		{"pending thresholds", "health:\n  error_threshold:\n    pending_metrics: 10\n", "3: health.error_threshold.pending_metrics: want at least health.degraded_threshold.pending_metrics, which is 5000, got 10"},
		{"age thresholds", "health:\n  error_threshold:\n    upload_age_seconds: 59\n", "3: health.error_threshold.upload_age_seconds: want at least health.degraded_threshold.upload_age_seconds, which is 60, got 59"},
		{"certificate without key", "remote:\n  client_cert: a.pem\n", "2: remote.client_cert: want client_key beside it"},
		{"key without certificate", "remote:\n  client_key: a.pem\n", "2: remote.client_key: want client_cert beside it"},
		{"one pin", "remote:\n  pins: [sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]\n", "2: remote.pins: want two or more, so that a key can be replaced, got one"},
		{"no pin", "remote:\n  pins: [47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]\n", "2: remote.pins[0]: want sha256/ and the base64 of a public key's SHA-256, got \"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\""},
		{"user without password", "remote:\n  basic_auth:\n    username: u\n", "3: remote.basic_auth.username: want password_file beside it"},
		{"user with a colon", "remote:\n  basic_auth: {username: 'a:b', password_file: p}\n", "2: remote.basic_auth.username: want a user name without a colon, got \"a:b\""},
		{"two credentials", "remote:\n  token_file: t\n  basic_auth: {username: u, password_file: p}\n", "2: remote.token_file: want either this or remote.basic_auth"},
		{"no rule about a value that is wrong", "remote:\n  batch_size: -1\n  chunk_size: 3000\n", "2: remote.batch_size: want a whole number of 1 to 100000, got -1"},
		{"log into the database", "logging:\n  output: x/../m.db-wal\nstorage:\n  path: ./m.db\n", "2: logging.output: want stdout, stderr or the path of a log file, got a file of the database"},

		// the file
		{"two documents", "device:\n---\nhost:\n", "2: want one YAML document, got a second one"},
		{"syntax", "device:\n  id: a\n bad\n", "2: not valid YAML on this line or below: did not find expected key"},
		{"tab", "device:\n\tid: a\n", "2: not valid YAML on this line or below: found character that cannot start any token"},
		{"unclosed", "a: [1,\n", "1: not valid YAML on this line or below: did not find expected node content"},
		{"unknown alias", "device:\n  id: *hunter2\n", "2: want the value written out, got an alias (*); put a text that begins with * in quotes"},
		{"NUL", "device:\n  id: a\x00b\n", "2: want text, got the control character 0x00"},
		{"DEL", "# a\n# \x7f\n", "2: want text, got the control character 0x7f"},
		{"no UTF-8", "#\n#\xff\n", "2: want UTF-8 text, got the byte 0xff"},
		{"UTF-16", "\xff\xfed\x00", "1: want UTF-8 text, got the byte 0xff"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := parse("f", []byte(c.file), "board")
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff("f:"+c.want, err.Error()); diff != "" {
				t.Errorf("fault (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(Config{}, config); diff != "" {
				t.Errorf("a configuration beside the faults:\n%s", diff)
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnceInTheOrderOfLines(t *testing.T) {
	file := `remote:
  upload_interval: -1s
  batch_size: 10
  nonsense: 1
logging: {level: loud, format: xml}
metrics:
  - name: network.traffic
    config: {exclude_ifaces: ["(", lo, "*"]}
  - name: nope
`
	_, err := parse("c.yaml", []byte(file), "board")
	want := []string{
		"c.yaml:2: remote.upload_interval: ", "c.yaml:3: remote.batch_size: ", "c.yaml:4: remote.nonsense: ",
		"c.yaml:5: logging.format: ", "c.yaml:5: logging.level: ",
		"c.yaml:8: metrics[0].config.exclude_ifaces[0]: ", "c.yaml:8: metrics[0].config.exclude_ifaces[2]: ", "c.yaml:9: metrics[1].name: ",
	}
	var faults *Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want *Faults", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) || len(faults.List) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d: got %q, want prefix %q", i, line, want[i])
		}
	}
}

func TestManyFaultsAreCounted(t *testing.T) {
	_, err := parse("f", []byte(strings.Repeat("x: y\n", 1000)+"remote: 1\n"), "board")
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "f:100: and 901 more" {
		t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestMissingKeysHaveTheirDefaults(t *testing.T) {
	want := Default()
	want.Device.ID = "board"
	for _, file := range []string{
		"", "\n# nothing\n", "---\n", "--- ~\n", "{}", "\uFEFF", "\uFEFFdevice:\n", "null",
		"device:\nhost:\nstorage:\nremote:\n  retry:\nhealth:\n  error_threshold:\nlogging:\nmonitoring:\nmetrics:\n",
		"device: {id: ''}\r\nhost: {}\r\n",
	} {
		got, err := parse("f", []byte(file), "board")
		if err != nil {
			t.Errorf("%q: %v", file, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", file, diff)
		}
	}
}

func TestAMetricListReplacesTheDefaultAndFillsItsEntries(t *testing.T) {
	for _, c := range []struct {
		file string
		want []Metric
	}{
		{"metrics: []", []Metric{}},
		{"metrics:\n- name: disk.usage", []Metric{{Name: "disk.usage", Interval: time.Minute, Enabled: true, Priority: 2}}},
		{"metrics:\n- {enabled: false, priority: 0, interval: 5s, name: cpu.usage}", []Metric{{Name: "cpu.usage", Interval: 5 * time.Second}}},
		{"metrics:\n- {name: disk.io, config: {allowed_devices: ''}}", []Metric{{
			Name: "disk.io", Interval: 30 * time.Second, Enabled: true, Priority: 2,
			Config: MetricConfig{AllowedDevices: DefaultAllowedDevices},
		}}},
		{"metrics:\n- {name: network.traffic, config: {exclude_ifaces: [], include_ifaces: ['usb.*']}}", []Metric{{
			Name: "network.traffic", Interval: 10 * time.Second, Enabled: true, Priority: 2,
			Config: MetricConfig{IncludeIfaces: []string{"usb.*"}, ExcludeIfaces: []string{}, MaxInterfaces: 32},
		}}},
		{"metrics:\n- {name: network.traffic, config: }", []Metric{{
			Name: "network.traffic", Interval: 10 * time.Second, Enabled: true, Priority: 2,
			Config: DefaultMetricConfig("network.traffic"),
		}}},
	} {
		got, err := parse("f", []byte(c.file), "board")
		if err != nil {
			t.Errorf("%q: %v", c.file, err)
		}
		if diff := cmp.Diff(c.want, got.Metrics); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.file, diff)
		}
	}
}

func TestTheDeviceIDIsTheHostnameUnlessSet(t *testing.T) {
	for _, c := range []struct{ file, hostname, want, fault string }{
		{"", "board-7", "board-7", ""},
		{"device: {id: Gerät 9}", "board-7", "Gerät 9", ""},
		{"device: {id: x}", "", "x", ""},
		{"", "", "", "f:1: device.id: want a name such as belabox-001, got none, and this machine has no hostname"},
		{"host:\ndevice:\n", "", "", "f:2: device.id: want a name such as belabox-001, got none, and this machine has no hostname"},
		{"device:\n\n  id: ''", "", "", "f:3: device.id: want a name such as belabox-001, got none, and this machine has no hostname"},
		{"", "a\x80", "", `f:1: device.id: want at most 256 bytes without control characters or spaces around them, got none, and the hostname is "a\x80"`},
	} {
		got, err := parse("f", []byte(c.file), c.hostname)
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		if got.Device.ID != c.want || fault != c.fault {
			t.Errorf("%q on %q: got %q, %q; want %q, %q", c.file, c.hostname, got.Device.ID, fault, c.want, c.fault)
		}
	}
}

// TestACredentialIsNeverRepeated puts an address with a password at every key,
// as a list, as a key, and in text that is no YAML.
func TestACredentialIsNeverRepeated(t *testing.T) {
	const secret = "hunter2"
	values := []string{
		"http://me:" + secret + "@host/", "http://me:" + secret + "@host/%zz", secret + ":x@host:1", "'http://me:" + secret + "@ho st/'",
		"[http://me:" + secret + "@host/]", "{http://me:" + secret + "@host/: 1}", "!http://me:" + secret + "@host/ x",
	}
	files := []string{"http://me:" + secret + "@host/\n", "http://me:" + secret + "@host/: 1\n", "- http://me:" + secret + "@h\n", "a: *" + secret}
	for _, key := range append(leaves(), "metrics", "metrics[0].config.exclude_ifaces[0]", "remote", "nonsense") {
		for _, value := range values {
			files = append(files, nest(key, value))
		}
	}
	refused := 0
	for _, file := range files {
		if _, err := parse("f", []byte(file), "board"); err != nil {
			refused++
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", file, err)
			}
		}
	}
	if refused < len(files)/2 {
		t.Errorf("only %d of %d files were refused", refused, len(files))
	}
}

// nest writes the file that has value under the dotted key.
func nest(key, value string) string {
	if rest, ok := strings.CutPrefix(key, "metrics[0]."); ok {
		if item, list := strings.CutSuffix(rest, "[0]"); list {
			return nest("metrics[0]."+item, "["+value+"]")
		}
		return fmt.Sprintf("metrics:\n- name: network.traffic\n  %s", strings.ReplaceAll(nest(rest, value), "\n", "\n  "))
	}
	head, rest, more := strings.Cut(key, ".")
	if !more {
		return head + ": " + value
	}
	return head + ":\n  " + strings.ReplaceAll(nest(rest, value), "\n", "\n  ")
}

func TestFilesThatCannotBeReadAreNamed(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("# comment\n", 1<<20/10+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none.yaml"), "no such file or directory"},
		{dir, "want a regular file, got a directory"},
		{big, "larger than 1 MiB"},
	} {
		_, err := Load(c.path)
		if err == nil || !strings.Contains(err.Error(), c.path) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it named, and %q", c.path, err, c.want)
		}
	}
	if _, err := Load("/dev/null"); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "remote: {url: http://a/, timeout: 1s}", "metrics:\n- name: disk.io\n  config: {allowed_devices: x}\n",
		"a: &a [*a]", "? [a]\n: b", "--- a\n--- b", "\uFEFF{", "device: {id: !!binary x}", "x: !<tag:yaml.org,2002:int> y", "<<: {a: b}",
		"health: {listen: '[::1]:0', path: /x}", "remote: {retry: {jitter_percent: 1e999}}", "- - - - -", "a: |\n  b\n c", "%YAML 9.9\n---\n",
	} {
		f.Add([]byte(seed))
	}
	whole, err := os.ReadFile("../../configs/config.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("f", data, "board")
		if err != nil {
			var faults *Faults
			if !errors.As(err, &faults) || len(faults.List) == 0 {
				t.Fatalf("got %T %v, want faults", err, err)
			}
			for _, one := range faults.List {
				if one.Line < 1 || one.Text == "" || strings.ContainsAny(one.Key+one.Text, "\n\x00") {
					t.Fatalf("fault %+v", one)
				}
			}
			return
		}
		// What was accepted is within every bound.
		if c.Device.ID == "" || c.Remote.UploadInterval < time.Second || c.Remote.ChunkSize > c.Remote.BatchSize || c.Health.Addr() == ":" {
			t.Fatalf("accepted %+v", c)
		}
		for _, m := range c.Metrics {
			for _, pattern := range append(append([]string{m.Config.AllowedDevices}, m.Config.IncludeIfaces...), m.Config.ExcludeIfaces...) {
				if _, err := Pattern(pattern); err != nil {
					t.Fatalf("accepted %q: %v", pattern, err)
				}
			}
		}
	})
}

func TestALinkToAFilesystemOfTheKernelIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]string{"folder": "/dev/shm", "file": "/dev/shm/belabox-metrics-not-there", "kept": dir} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"storage: {path: " + dir + "/folder/metrics.db}", "storage: {path: " + dir + "/kept/folder/a/metrics.db}", "logging: {output: " + dir + "/file}"} {
		if _, err := parse("f", []byte(file+"\n"), "board"); err == nil || !strings.Contains(err.Error(), "which leads to \"/dev/shm/") {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := parse("f", []byte("storage: {path: "+dir+"/kept/metrics.db}\n"), "board"); err != nil {
		t.Error(err)
	}
}
