package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// A peer is a way to get a machine's figures to a VictoriaMetrics.
type peer struct {
	name     string
	programs []string // from the environment or the PATH
	install  bool     // they are copied, as a package does
	graphite bool     // sends to VictoriaMetrics' graphite port
	// commands writes the configuration into dir and returns what to start.
	commands func(dir, server string, programs []string) ([][]string, error)
}

// peers are those known here. Each collects every 10 s and sends every 30 s at
// most, or as near to that as it can.
func peers(bin string) []peer {
	return []peer{
		{name: "ours", programs: []string{
			filepath.Join(bin, "metrics-collector"), filepath.Join(bin, "metrics-shipper"), filepath.Join(bin, "metrics-health"),
		}, install: true, commands: ours},
		{name: "telegraf", programs: []string{env("TELEGRAF", "telegraf")}, commands: telegraf},
		{name: "collectd", programs: []string{env("COLLECTD", "collectd")}, graphite: true, commands: collectd},
		{name: "node_exporter+vmagent", programs: []string{
			env("NODE_EXPORTER", "prometheus-node-exporter"), env("VMAGENT", "vmagent"),
		}, commands: vmagent},
	}
}

func env(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

func ours(dir, server string, programs []string) ([][]string, error) {
	file := filepath.Join(dir, "config.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `device: {id: bench}
storage: {path: %q, min_free_mb: 0}
remote: {url: "http://%s/api/v1/import"}
health: {port: 0}
`, filepath.Join(dir, "metrics.db"), server), 0o600)
	var all [][]string
	for _, p := range programs {
		all = append(all, []string{p, "-config", file})
	}
	return all, err
}

// telegraf collects what it can of that which our default configuration collects: the
// inputs of the first eight collectors as its own default has them, every 10 s, and
// those of the later ones as often as ours. It has none for the stream, the HDMI input,
// modems, the receiver and the wear of eMMC.
func telegraf(dir, server string, programs []string) ([][]string, error) {
	file := filepath.Join(dir, "telegraf.conf")
	err := os.WriteFile(file, fmt.Appendf(nil, `[agent]
  interval = "10s"
  flush_interval = "30s"
  metric_buffer_limit = 100000
[[outputs.influxdb]]
  urls = ["http://%s"]
  skip_database_creation = true
  content_encoding = "gzip"
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.swap]]
[[inputs.system]]
[[inputs.disk]]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.temp]]
[[inputs.internal]]
[[inputs.timex]]
[[inputs.kernel]]
  collect = ["psi"]
  interval = "30s"
[[inputs.nstat]]
  interval = "30s"
[[inputs.cgroup]]
  paths = ["/sys/fs/cgroup/system.slice/*.service"]
  files = ["cpu.stat", "memory.current", "pids.current"]
  interval = "30s"
`, server), 0o600)
	return [][]string{{programs[0], "--config", file, "--quiet"}}, err
}

func collectd(dir, server string, programs []string) ([][]string, error) {
	host, port, ok := cutPort(server)
	if !ok {
		return nil, fmt.Errorf("no port in %q", server)
	}
	plugins := ""
	if p := os.Getenv("COLLECTD_PLUGINS"); p != "" {
		plugins = fmt.Sprintf("PluginDir %q\n", p)
	}
	if t := os.Getenv("COLLECTD_TYPES"); t != "" {
		plugins += fmt.Sprintf("TypesDB %q\n", t)
	}
	file := filepath.Join(dir, "collectd.conf")
	err := os.WriteFile(file, fmt.Appendf(nil, `%sBaseDir %q
PIDFile "%s/pid"
Interval 10
Hostname "bench"
LoadPlugin cpu
LoadPlugin df
LoadPlugin disk
LoadPlugin interface
LoadPlugin load
LoadPlugin memory
LoadPlugin swap
LoadPlugin uptime
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "vm">
    Host "%s"
    Port "%s"
    Protocol "tcp"
  </Node>
</Plugin>
`, plugins, dir, dir, host, port), 0o600)
	return [][]string{{programs[0], "-f", "-C", file}}, err
}

func vmagent(dir, server string, programs []string) ([][]string, error) {
	exporter, err := freeAddr()
	if err != nil {
		return nil, err
	}
	own, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "scrape.yml")
	err = os.WriteFile(file, fmt.Appendf(nil, `global: {scrape_interval: 10s}
scrape_configs:
  - job_name: node
    static_configs: [{targets: [%q]}]
`, exporter), 0o600)
	return [][]string{
		{programs[0], "--web.listen-address=" + exporter},
		{
			programs[1], "-httpListenAddr=" + own, "-promscrape.config=" + file, "-remoteWrite.url=http://" + server + "/api/v1/write",
			"-remoteWrite.tmpDataPath=" + filepath.Join(dir, "queue"), "-remoteWrite.flushInterval=30s",
		},
	}, err
}
