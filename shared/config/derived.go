package config

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"
)

// Unsettled is the time after which the server has an acknowledged sample on its disk:
// VictoriaMetrics writes some seconds after its 204, and a kill loses up to ten seconds.
const Unsettled = 2 * time.Minute

// UploadAge returns how old the last upload may become before the status is degraded, and
// before it is error: 2 and 20 times remote.upload_interval unless the thresholds are set.
func (c Config) UploadAge() (degraded, failed time.Duration) {
	age := func(t Threshold, intervals time.Duration) time.Duration {
		if t.UploadAgeSeconds > 0 {
			return time.Duration(t.UploadAgeSeconds) * time.Second
		}
		return intervals * c.Remote.UploadInterval
	}
	return age(c.Health.DegradedThreshold, 2), age(c.Health.ErrorThreshold, 20)
}

// ClockURL returns the page whose Date header the clock is compared with:
// monitoring.clock_skew_url, or /health of the server that remote.url names.
func (c Config) ClockURL() (*url.URL, error) {
	if c.Monitoring.ClockSkewURL != "" {
		u, err := url.Parse(c.Monitoring.ClockSkewURL)
		if err != nil {
			return nil, errors.New("monitoring.clock_skew_url is not a URL")
		}
		return u, nil
	}
	u, err := url.Parse(c.Remote.URL)
	if err != nil {
		return nil, errors.New("remote.url is not a URL")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/health"}, nil
}

// LockPath returns the file that the named program locks while it runs, beside
// the database. Each program has its own.
func (c Config) LockPath(program string) string {
	return filepath.Join(filepath.Dir(c.Storage.Path), program+".lock")
}

// Addr returns the address of the status server for net.Listen. A port in listen replaces
// port; port 0 means any free one.
func (h Health) Addr() string {
	host, port, _ := splitListen(h.Listen)
	if port == "" {
		port = strconv.Itoa(h.Port)
	}
	return net.JoinHostPort(host, port)
}

// Collected says whether the collector runs: it is enabled and has the keys that it needs.
func (m Metric) Collected() bool {
	return m.Enabled && (m.Name != "receiver.srt" || m.Config.URL != "")
}
