package ship

import (
	"net"
	"net/http"
	"time"
)

// transport makes connections and keeps one. HTTP/2 is not asked for: its
// headers cost more than they save on one request in 30 seconds.
func transport(l *link) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            l.dial(&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}),
		TLSHandshakeTimeout:    15 * time.Second,
		MaxIdleConns:           1,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        2 * time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}
