// Package config is the one configuration file that all daemons read: its keys, their
// defaults, and the values that they may have.
//
// Default returns the defaults; Load reads a file over them. An unknown key, a wrong type
// or an invalid value is a fault with its key and line, and all faults are reported
// together.
//
// A new key is a field with two tags: yaml is its name in the file, want says which
// values it may have (a range, a list of words, or a kind of text in values.go). Rules
// about two keys are in rules.go. configs/config.yaml must show every key with its
// default and a comment that explains it; a test compares them and makes
// docs/configuration.md from both (make golden).
package config

import "time"

// DefaultPath is the file that Load reads when it is given no path. Only this
// one may be absent.
const DefaultPath = "/etc/belabox-metrics/config.yaml"

// Config is the whole file.
type Config struct {
	Device     Device     `yaml:"device"`
	Host       Host       `yaml:"host"`
	Storage    Storage    `yaml:"storage"`
	Time       Time       `yaml:"time"`
	Remote     Remote     `yaml:"remote"`
	Health     Health     `yaml:"health"`
	Logging    Logging    `yaml:"logging"`
	Monitoring Monitoring `yaml:"monitoring"`
	Metrics    []Metric   `yaml:"metrics"`
}

// Device names the board at the server.
type Device struct {
	ID   string `yaml:"id" want:"label"`   // empty in the file: the hostname
	Site string `yaml:"site" want:"label"` // label site of what is sent; empty: none
}

// Host says where the kernel's pseudo files are.
type Host struct {
	Procfs string `yaml:"procfs" want:"root"`
	Sysfs  string `yaml:"sysfs" want:"root"`
}

// Storage is the database and its WAL.
type Storage struct {
	Path                  string        `yaml:"path" want:"new path"`
	WALCheckpointInterval time.Duration `yaml:"wal_checkpoint_interval" want:"1s..24h"`
	WALCheckpointSizeMB   int           `yaml:"wal_checkpoint_size_mb" want:"1..1024"`
	Synchronous           string        `yaml:"synchronous" want:"full|normal"` // full or normal; the collector's commits
	Retention             time.Duration `yaml:"retention" want:"1m..87600h"`    // how long a delivered sample is kept
	MaxSeries             int           `yaml:"max_series" want:"100..1000000"` // above it samples of new series are counted as lost
	MaxSizeMB             int           `yaml:"max_size_mb" want:"1..1048576"`  // of the database and its WAL together
	MinFreeMB             int           `yaml:"min_free_mb" want:"0..1048576"`  // on the filesystem; 0: not checked
}

// Time says what to do with samples while nothing confirms the wall clock: hold keeps them
// until it is confirmed and then corrects their times, ship sends them as they are.
type Time struct {
	Untrusted string `yaml:"untrusted" want:"hold|ship"`
}

// Remote is the server and how samples go there.
type Remote struct {
	URL            string        `yaml:"url" want:"url"`
	Enabled        bool          `yaml:"enabled"`
	UploadInterval time.Duration `yaml:"upload_interval" want:"1s..24h"`
	Timeout        time.Duration `yaml:"timeout" want:"1s..10m"`
	Compression    bool          `yaml:"compression"`
	BatchSize      int           `yaml:"batch_size" want:"1..100000"`
	ChunkSize      int           `yaml:"chunk_size" want:"1..100000"`
	Retry          Retry         `yaml:"retry"`

	Backfill        string        `yaml:"backfill" want:"newest_first|oldest_first|off"` // order of the samples that are not new
	MaxKbps         int64         `yaml:"max_kbps" want:"0..10000000"`                   // both ways, headers and TLS included; 0: no limit
	MaxBytesPerDay  int64         `yaml:"max_bytes_per_day" want:"0..1000000000000"`     // both ways, by UTC day; 0: no limit
	BusyKbps        int64         `yaml:"busy_kbps" want:"0..10000000"`                  // traffic of other programs; 0: not measured
	Settle          time.Duration `yaml:"settle" want:"0s..8760h"`                       // how long a delivered sample can be sent again
	ServerRetention time.Duration `yaml:"server_retention" want:"0s..876000h"`           // older samples are rejected; 0: no limit
	TokenFile       string        `yaml:"token_file" want:"path or empty"`               // bearer token
	BasicAuth       BasicAuth     `yaml:"basic_auth"`
	CAFile          string        `yaml:"ca_file" want:"path or empty"`     // PEM; in place of the system's
	ClientCert      string        `yaml:"client_cert" want:"path or empty"` // PEM
	ClientKey       string        `yaml:"client_key" want:"path or empty"`  // PEM
	Pins            []string      `yaml:"pins" want:"pin"`                  // of public keys in the server's chain

	AllowPlaintextToken bool `yaml:"allow_plaintext_token"` // send credentials over http to other machines
	AnyPath             bool `yaml:"any_path"`              // url may end in another path than ImportPath
}

// BasicAuth is a user name and the file that holds the password.
type BasicAuth struct {
	Username     string `yaml:"username" want:"user name or empty"`
	PasswordFile string `yaml:"password_file" want:"path or empty"`
}

// Retry is the wait after an attempt that did not succeed.
type Retry struct {
	Enabled           bool          `yaml:"enabled"`
	MaxAttempts       int           `yaml:"max_attempts" want:"1..100"` // quick attempts in a row; no sample is dropped after them
	InitialBackoff    time.Duration `yaml:"initial_backoff" want:"100ms..1h"`
	MaxBackoff        time.Duration `yaml:"max_backoff" want:"100ms..24h"`
	BackoffMultiplier float64       `yaml:"backoff_multiplier" want:"1..10"`
	JitterPercent     float64       `yaml:"jitter_percent" want:"0..100"`
}

// Health is the status server and its thresholds.
type Health struct {
	Enabled           bool      `yaml:"enabled"`
	Listen            string    `yaml:"listen" want:"listen"` // address, or address:port
	Port              int       `yaml:"port" want:"0..65535"` // used when listen names none
	Path              string    `yaml:"path" want:"endpoint"`
	DegradedThreshold Threshold `yaml:"degraded_threshold"`
	ErrorThreshold    Threshold `yaml:"error_threshold"`
}

// Threshold is where a status begins. UploadAgeSeconds 0 means: derived from
// remote.upload_interval (2 times it for degraded, 20 times for error).
type Threshold struct {
	PendingMetrics   int64 `yaml:"pending_metrics" want:"1..1000000000"`
	UploadAgeSeconds int64 `yaml:"upload_age_seconds" want:"0..31536000"`
}

// Logging is where log lines go and how they look.
type Logging struct {
	Level  string `yaml:"level" want:"debug|info|warn|error"`
	Format string `yaml:"format" want:"auto|json|journal|console"`
	Output string `yaml:"output" want:"new path"`
}

// Monitoring is the comparison of the clock with the server's.
type Monitoring struct {
	ClockSkewCheckInterval   time.Duration `yaml:"clock_skew_check_interval" want:"1s..24h"`
	ClockSkewWarnThresholdMs int64         `yaml:"clock_skew_warn_threshold_ms" want:"1..86400000"`
	ClockSkewURL             string        `yaml:"clock_skew_url" want:"url or empty"` // empty: see Config.ClockURL
}

// Metric is one collector of the list.
type Metric struct {
	Name     string        `yaml:"name" want:"name"`
	Interval time.Duration `yaml:"interval" want:"1s..24h"`
	Enabled  bool          `yaml:"enabled"`
	Priority int           `yaml:"priority" want:"0..3"` // 0 (first) to 3
	Config   MetricConfig  `yaml:"config"`
}

// MetricConfig has the keys of single collectors, which the of tag names. A key under
// another collector is a fault. Patterns match whole names; Pattern compiles them.
type MetricConfig struct {
	AllowedDevices string   `yaml:"allowed_devices" want:"pattern or empty" of:"disk.io"`               // empty: whole devices
	IncludeIfaces  []string `yaml:"include_ifaces" want:"pattern" of:"network.traffic, network.health"` // empty: all that are not excluded
	ExcludeIfaces  []string `yaml:"exclude_ifaces" want:"pattern" of:"network.traffic, network.health"` // interfaces without traffic of the board's own
	MaxInterfaces  int      `yaml:"max_interfaces" want:"1..1024" of:"network.traffic, network.health"` // further ones are counted
	ExcludeZones   []string `yaml:"exclude_zones" want:"pattern" of:"cpu.temperature"`                  // types, or names such as thermal_zone3
	Mountpoints    []string `yaml:"mountpoints" want:"mountpoint" of:"disk.usage"`                      // empty: every filesystem on a block device
	Devices        []string `yaml:"devices" want:"path" of:"hdmi.input"`                                // of HDMI inputs
	Directory      string   `yaml:"directory" want:"root" of:"textfile"`                                // of *.prom files
	URL            string   `yaml:"url" want:"loopback or empty" of:"receiver.srt"`                     // empty: not collected
	Names          []string `yaml:"names" want:"stream name" of:"receiver.srt"`                         // of streams, by their hashes
	Units          []string `yaml:"units" want:"unit" of:"unit.usage, stream.events"`                   // systemd units
	RelayPort      int      `yaml:"relay_port" want:"1..65535" of:"stream.events, stream.links"`        // UDP, where srtla_send takes the stream
	Journal        string   `yaml:"journal" want:"root or empty" of:"stream.events"`                    // empty: this machine's
	TmpDir         string   `yaml:"tmp_dir" want:"root or empty" of:"stream.links"`                     // empty: the system's /tmp
}
