package config

import (
	"net"
	"path/filepath"
	"strconv"
	"time"
)

// UploadAge returns how old the last upload may get before the status is
// degraded, and before it is error: 2 and 20 times remote.upload_interval
// unless the thresholds are set.
func (c Config) UploadAge() (degraded, failed time.Duration) {
	age := func(t Threshold, intervals time.Duration) time.Duration {
		if t.UploadAgeSeconds > 0 {
			return time.Duration(t.UploadAgeSeconds) * time.Second
		}
		return intervals * c.Remote.UploadInterval
	}
	return age(c.Health.DegradedThreshold, 2), age(c.Health.ErrorThreshold, 20)
}

// LockPath returns the file that the named program locks while it runs, beside
// the database. Each program has its own.
func (c Config) LockPath(program string) string {
	return filepath.Join(filepath.Dir(c.Storage.Path), program+".lock")
}

// Addr returns where the status server listens, as net.Listen takes it. A port
// in listen wins over port; port 0 takes any free one.
func (h Health) Addr() string {
	host, port, _ := splitListen(h.Listen)
	if port == "" {
		port = strconv.Itoa(h.Port)
	}
	return net.JoinHostPort(host, port)
}
