package config

import "time"

// DefaultAllowedDevices matches whole disks and no partitions.
const DefaultAllowedDevices = `sd[a-z]+|nvme\d+n\d+|mmcblk\d+|vd[a-z]+`

// defaultRelayPort is where both have srtla_send listen.
const defaultRelayPort = 9000

// DefaultExcludeIfaces are the interfaces that carry no traffic of the board's
// own. The modem links (wwan, wwp, usb, enx) are what the board is for and stay.
func DefaultExcludeIfaces() []string {
	return []string{"lo", "docker.*", "veth.*", "br-.*", "virbr.*", "wlan.*mon", "ifb.*", "dummy.*"}
}

// Default returns the configuration of an empty file, except for the device id,
// which Load takes from the hostname.
func Default() Config {
	return Config{
		Host: Host{Procfs: "/proc", Sysfs: "/sys"},
		Storage: Storage{
			Path:                  "/var/lib/belabox-metrics/metrics.db",
			WALCheckpointInterval: time.Hour,
			WALCheckpointSizeMB:   64,
			Synchronous:           "full",
			Retention:             7 * 24 * time.Hour,
			MaxSeries:             20000,
			MaxSizeMB:             256,
			MinFreeMB:             512,
		},
		Time: Time{Untrusted: "hold"},
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
			Backfill:        "newest_first",
			Settle:          24 * time.Hour,
			ServerRetention: 31 * 24 * time.Hour,
		},
		Health: Health{
			Enabled:           true,
			Listen:            "127.0.0.1",
			Port:              9100,
			Path:              "/health",
			DegradedThreshold: Threshold{PendingMetrics: 5000},
			ErrorThreshold:    Threshold{PendingMetrics: 10000},
		},
		Logging: Logging{Level: "info", Format: "auto", Output: "stdout"},
		Monitoring: Monitoring{
			ClockSkewCheckInterval:   5 * time.Minute,
			ClockSkewWarnThresholdMs: 2000,
		},
		Metrics: DefaultMetrics(),
	}
}

// DefaultTextfiles is where scripts leave their metrics; the package makes it.
const DefaultTextfiles = "/var/lib/belabox-metrics/textfile"

// DefaultHDMI is the link that the package's udev rule makes.
const DefaultHDMI = "/dev/belabox-hdmi"

// DefaultUnits are the programs that stream: BELABOX's and CeraLive's.
func DefaultUnits() []string { return []string{"belaUI.service", "ceralive.service"} }

// DefaultMetrics is the list of collectors of an empty file. A list given in
// the file replaces it whole.
func DefaultMetrics() []Metric {
	every := func(name string, interval time.Duration) Metric {
		return Metric{Name: name, Interval: interval, Enabled: true, Priority: 2, Config: DefaultMetricConfig(name)}
	}
	at := func(priority int, m Metric) Metric {
		m.Priority = priority
		return m
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
		at(0, every("stream.events", 5*time.Second)), // what the board is for
		at(1, every("stream.links", 10*time.Second)),
		every("soc.load", 30*time.Second),
		every("network.health", 30*time.Second),
		every("unit.usage", 30*time.Second),
		every("board.power", time.Minute),
		every("textfile", 30*time.Second),
		at(1, every("modem.status", 30*time.Second)),
		at(1, every("hdmi.input", 10*time.Second)),
		at(1, every("receiver.srt", 10*time.Second)),
		at(3, every("system.pressure", 30*time.Second)),
		at(3, every("storage.wear", time.Hour)),
		at(3, every("board.info", time.Hour)),
	}
}

// DefaultMetricConfig is what a collector's config keys are when left out.
func DefaultMetricConfig(name string) MetricConfig {
	switch name {
	case "disk.io":
		return MetricConfig{AllowedDevices: DefaultAllowedDevices}
	case "hdmi.input":
		return MetricConfig{Devices: []string{DefaultHDMI}}
	case "textfile":
		return MetricConfig{Directory: DefaultTextfiles}
	case "unit.usage":
		return MetricConfig{Units: DefaultUnits()}
	case "network.traffic", "network.health":
		return MetricConfig{ExcludeIfaces: DefaultExcludeIfaces(), MaxInterfaces: 32}
	case "stream.events":
		return MetricConfig{Units: DefaultUnits(), RelayPort: defaultRelayPort}
	case "stream.links":
		return MetricConfig{RelayPort: defaultRelayPort}
	}
	return MetricConfig{}
}
