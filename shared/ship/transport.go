package ship

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/certfile"
	"github.com/taniwha3/thugshells/shared/config"
)

// errPin is the error for a valid chain of certificates that has none of the expected
// keys.
var errPin = errors.New("none of remote.pins is in the server's certificate chain")

// newTransport makes connections and keeps one open. HTTP/2 is not used: on one request
// in 30 seconds its headers cost more than they save. The proxy comes from the
// environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
func newTransport(r config.Remote, l *link) (*http.Transport, error) {
	secure, err := newTLS(r)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkProxy,
		DialContext:            l.dial(&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}),
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxIdleConns:           1,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        2 * time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}, nil
}

// checkProxy turns a proxy's answer to CONNECT into a fault, because RoundTrip returns
// only its text.
func checkProxy(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	o := outcomeOf(resp.StatusCode)
	if o != Misconfigured {
		o = Later // no sample was sent
	}
	return &fault{outcome: o, err: fmt.Errorf("the proxy %s answered HTTP %d to CONNECT", proxy.Host, resp.StatusCode)}
}

func newTLS(r config.Remote) (*tls.Config, error) {
	// Tickets make the next handshake smaller.
	c := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(2)}
	if r.CAFile != "" {
		var err error
		if c.RootCAs, err = certfile.Authorities(r.CAFile); err != nil {
			return nil, err
		}
	}
	if r.ClientCert != "" {
		own, err := certfile.ClientPair(r.ClientCert, r.ClientKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{own}
	}
	if len(r.Pins) > 0 {
		// Called after the normal checks, also for a resumed session.
		c.VerifyConnection = func(s tls.ConnectionState) error { return checkPins(r.Pins, s.VerifiedChains) }
	}
	return c, nil
}

// checkPins looks for a pinned public key in a verified chain (RFC 7469, 2.6).
func checkPins(pins []string, chains [][]*x509.Certificate) error {
	for _, chain := range chains {
		for _, cert := range chain {
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			if slices.Contains(pins, "sha256/"+base64.StdEncoding.EncodeToString(sum[:])) {
				return nil
			}
		}
	}
	return errPin
}

// explainTLS says what is wrong with the server's certificate, and the outcome of the
// request; ok is false if err is about something else.
func explainTLS(err error, now time.Time) (o Outcome, worded error, ok bool) {
	if errors.Is(err, errPin) {
		return Misconfigured, errPin, true
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired && e.Cert != nil {
		const day = "2006-01-02 15:04"
		if now.Before(e.Cert.NotBefore) {
			// A board without a battery for its clock has a wrong time after its start.
			return Later, fmt.Errorf("the server's certificate begins on %s and this clock reads %s: is the clock set yet?",
				e.Cert.NotBefore.UTC().Format(day), now.UTC().Format(day)), true
		}
		return Misconfigured, fmt.Errorf("the server's certificate expired on %s", e.Cert.NotAfter.UTC().Format(day)), true
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return Misconfigured, fmt.Errorf("the server's certificate has the wrong name: %w", e), true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Misconfigured, errors.New("the server's certificate is signed by an authority that is not trusted here"), true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Misconfigured, fmt.Errorf("the server's certificate: %w", err), true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return Misconfigured, errors.New("the server does not speak TLS"), true
	}
	return 0, nil, false
}
