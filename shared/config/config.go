// Package config is the one configuration file that all daemons read: what its
// keys are, what they are when left out, and which values make no sense.
//
// Default returns the whole truth; Load decodes a file over it. A key that is
// not known, a wrong type or an absurd value is a fault with its key and line,
// and all faults are reported together.
package config

import "time"

// Config is the whole file.
type Config struct {
	Device     Device     `yaml:"device"`
	Host       Host       `yaml:"host"`
	Storage    Storage    `yaml:"storage"`
	Remote     Remote     `yaml:"remote"`
	Health     Health     `yaml:"health"`
	Logging    Logging    `yaml:"logging"`
	Monitoring Monitoring `yaml:"monitoring"`
	Metrics    []Metric   `yaml:"metrics"`
}

// Device names the board at the server.
type Device struct {
	ID string `yaml:"id"` // empty in the file: the hostname
}

// Host says where the kernel's pseudo files are.
type Host struct {
	Procfs string `yaml:"procfs"`
	Sysfs  string `yaml:"sysfs"`
}

// Storage is the database and its write-ahead log.
type Storage struct {
	Path                  string        `yaml:"path"`
	WALCheckpointInterval time.Duration `yaml:"wal_checkpoint_interval"`
	WALCheckpointSizeMB   int           `yaml:"wal_checkpoint_size_mb"`
	Synchronous           string        `yaml:"synchronous"` // full or normal; the collector's commits
}

// Remote is the server and how samples go there.
type Remote struct {
	URL            string        `yaml:"url"`
	Enabled        bool          `yaml:"enabled"`
	UploadInterval time.Duration `yaml:"upload_interval"`
	Timeout        time.Duration `yaml:"timeout"`
	Compression    bool          `yaml:"compression"`
	BatchSize      int           `yaml:"batch_size"`
	ChunkSize      int           `yaml:"chunk_size"`
	Retry          Retry         `yaml:"retry"`
}

// Retry is the wait after an attempt that did not succeed.
type Retry struct {
	Enabled           bool          `yaml:"enabled"`
	MaxAttempts       int           `yaml:"max_attempts"` // quick attempts of one round, never the life of a sample
	InitialBackoff    time.Duration `yaml:"initial_backoff"`
	MaxBackoff        time.Duration `yaml:"max_backoff"`
	BackoffMultiplier float64       `yaml:"backoff_multiplier"`
	JitterPercent     float64       `yaml:"jitter_percent"`
}

// Health is the status server and its thresholds.
type Health struct {
	Enabled           bool      `yaml:"enabled"`
	Listen            string    `yaml:"listen"` // address, or address:port
	Port              int       `yaml:"port"`   // used when listen names none
	Path              string    `yaml:"path"`
	DegradedThreshold Threshold `yaml:"degraded_threshold"`
	ErrorThreshold    Threshold `yaml:"error_threshold"`
}

// Threshold is where a status begins. UploadAgeSeconds 0 means: derived from
// remote.upload_interval (2 times it for degraded, 20 times for error).
type Threshold struct {
	PendingMetrics   int64 `yaml:"pending_metrics"`
	UploadAgeSeconds int64 `yaml:"upload_age_seconds"`
}

// Logging is where log lines go and how they look.
type Logging struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
	Output string `yaml:"output"`
}

// Monitoring is the watch over the clock.
type Monitoring struct {
	ClockSkewCheckInterval   time.Duration `yaml:"clock_skew_check_interval"`
	ClockSkewWarnThresholdMs int64         `yaml:"clock_skew_warn_threshold_ms"`
	ClockSkewURL             string        `yaml:"clock_skew_url"`
}

// Metric is one collector of the list.
type Metric struct {
	Name     string        `yaml:"name"`
	Interval time.Duration `yaml:"interval"`
	Enabled  bool          `yaml:"enabled"`
	Priority int           `yaml:"priority"` // 0 (first) to 3
	Config   MetricConfig  `yaml:"config"`
}

// MetricConfig holds the keys that single collectors know. A key is refused
// under a collector that does not know it.
type MetricConfig struct {
	AllowedDevices string   `yaml:"allowed_devices"` // disk.io; empty: whole devices
	IncludeIfaces  []string `yaml:"include_ifaces"`  // network.traffic; empty: all that are not excluded
	ExcludeIfaces  []string `yaml:"exclude_ifaces"`  // network.traffic
	MaxInterfaces  int      `yaml:"max_interfaces"`  // network.traffic
	Mountpoints    []string `yaml:"mountpoints"`     // disk.usage; empty: every filesystem on a block device
}

// DefaultAllowedDevices matches whole disks and no partitions.
const DefaultAllowedDevices = `sd[a-z]+|nvme\d+n\d+|mmcblk\d+|vd[a-z]+`

// DefaultExcludeIfaces are the interfaces that carry no traffic of the board's
// own. The modem links (wwan, wwp, usb, enx) are what the board is for and stay.
func DefaultExcludeIfaces() []string {
	return []string{"lo", "docker.*", "veth.*", "br-.*", "virbr.*", "wlan.*mon"}
}

// Default returns the configuration of an empty file, save for the device id,
// which Load takes from the hostname.
func Default() Config {
	return Config{
		Host: Host{Procfs: "/proc", Sysfs: "/sys"},
		Storage: Storage{
			Path:                  "/var/lib/belabox-metrics/metrics.db",
			WALCheckpointInterval: time.Hour,
			WALCheckpointSizeMB:   64,
			Synchronous:           "full",
		},
		Remote: Remote{
			URL:            "http://localhost:8428/api/v1/import",
			Enabled:        true,
			UploadInterval: 30 * time.Second,
			Timeout:        30 * time.Second,
			Compression:    true,
			BatchSize:      2500,
			ChunkSize:      50,
			Retry: Retry{
				Enabled:           true,
				MaxAttempts:       3,
				InitialBackoff:    5 * time.Second,
				MaxBackoff:        time.Minute,
				BackoffMultiplier: 3,
				JitterPercent:     20,
			},
		},
		Health: Health{
			Enabled:           true,
			Listen:            "127.0.0.1",
			Port:              9100,
			Path:              "/health",
			DegradedThreshold: Threshold{PendingMetrics: 5000},
			ErrorThreshold:    Threshold{PendingMetrics: 10000},
		},
		Logging: Logging{Level: "info", Format: "json", Output: "stdout"},
		Monitoring: Monitoring{
			ClockSkewCheckInterval:   5 * time.Minute,
			ClockSkewWarnThresholdMs: 2000,
			ClockSkewURL:             "http://localhost:8428/health",
		},
		Metrics: DefaultMetrics(),
	}
}

// DefaultMetrics is the list of collectors of an empty file. A list given in
// the file replaces it whole.
func DefaultMetrics() []Metric {
	every := func(name string, interval time.Duration) Metric {
		return Metric{Name: name, Interval: interval, Enabled: true, Priority: 2, Config: DefaultMetricConfig(name)}
	}
	return []Metric{
		every("cpu.usage", 10*time.Second),
		every("cpu.temperature", 30*time.Second),
		every("memory.usage", 30*time.Second),
		every("disk.io", 30*time.Second),
		every("disk.usage", time.Minute),
		every("network.traffic", 10*time.Second),
		every("system.load", 30*time.Second),
		every("system.uptime", time.Minute),
	}
}

// DefaultMetricConfig is what a collector's config keys are when left out.
func DefaultMetricConfig(name string) MetricConfig {
	switch name {
	case "disk.io":
		return MetricConfig{AllowedDevices: DefaultAllowedDevices}
	case "network.traffic":
		return MetricConfig{ExcludeIfaces: DefaultExcludeIfaces(), MaxInterfaces: 32}
	}
	return MetricConfig{}
}
