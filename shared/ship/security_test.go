package ship

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/secretfile"
	"github.com/taniwha3/thugshells/shared/store"
)

const secret = "s3cr3t-T0ken.value"

func mustWrite(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentialsComeFromSystemdFirstAndNotInTheClear(t *testing.T) {
	dir := filepath.Dir(mustWrite(t, "token", "from-systemd", 0o400))
	file := mustWrite(t, "token", "from-file", 0o600)
	f := func(r config.Remote, to, dir, want, fault string) {
		t.Helper()
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCredentials(r, u, dir)
		if fault != "" {
			if err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("%s: %v, want %q", to, err, fault)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.header(); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", to, got, err, want)
		}
	}
	f(config.Remote{}, "http://example.com/", "", "", "")
	f(config.Remote{TokenFile: file}, "https://example.com/", "", "Bearer from-file", "")
	f(config.Remote{TokenFile: file}, "https://example.com/", dir, "Bearer from-systemd", "")
	f(config.Remote{}, "https://example.com/", dir, "Bearer from-systemd", "")
	f(config.Remote{}, "https://example.com/", t.TempDir(), "", "")
	f(config.Remote{BasicAuth: config.BasicAuth{Username: "u", PasswordFile: file}}, "https://example.com/", dir, "Basic "+base64.StdEncoding.EncodeToString([]byte("u:from-file")), "")
	for _, local := range []string{"http://localhost:8428/", "http://127.0.0.1/", "http://127.9.9.9/", "http://[::1]:1/"} {
		f(config.Remote{TokenFile: file}, local, "", "Bearer from-file", "")
	}
	for _, remote := range []string{"http://example.com/", "http://192.168.1.1/", "http://localhost.example.com/", "http://127.0.0.1.example.com/"} {
		f(config.Remote{TokenFile: file}, remote, "", "", "allow_plaintext_token")
		f(config.Remote{TokenFile: file, AllowPlaintextToken: true}, remote, "", "Bearer from-file", "")
	}
}

func TestTheTokenIsReadAgainWhenItChangesAndAfter401(t *testing.T) {
	path := mustWrite(t, "token", "old", 0o600)
	var valid atomic.Value
	valid.Store("old")
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+valid.Load().(string) {
			w.WriteHeader(401)
			fmt.Fprint(w, "bad ", r.Header.Get("Authorization"))
			return
		}
		w.Header().Set("X-Server-Hostname", "one")
		w.WriteHeader(204)
	}))
	defer server.Close()
	b := newBench(t, server.URL+"/api/v1/import", func(c *config.Config) { c.Remote.TokenFile = path })
	b.record(1, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	// The same size and time: only reading shows the change.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, []byte("new"), 0o600)
	os.Chtimes(path, info.ModTime(), info.ModTime())
	valid.Store("new")
	b.record(1, "a")
	if err := b.round(); err != nil {
		t.Errorf("after the token was replaced: %v", err)
	}
	b.want(0, 2, 0)
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	// While the wait is long, a new token ends it.
	valid.Store("newer")
	b.record(1, "a")
	if err := b.round(); err == nil {
		t.Error("401 was no error")
	}
	os.WriteFile(path, []byte("newer"), 0o600)
	if _, err := b.ship.Round(t.Context()); err != nil {
		t.Errorf("with the right token: %v", err)
	}
	b.want(0, 3, 0)
	// The server repeats the token, and the file is gone meanwhile.
	valid.Store("newest")
	gone := b.ship.client.creds
	gone.Path += ".moved"
	os.WriteFile(gone.Path, []byte("newer"), 0o600)
	if _, err := gone.header(); err != nil {
		t.Fatal(err)
	}
	a, err := b.ship.client.post(t.Context(), nil)
	os.Remove(gone.Path)
	gone.changed()
	if said := gone.excerpt(a.body); err != nil || strings.Contains(said, "newer") || !strings.Contains(said, "[secret]") {
		t.Errorf("said %q, %v", said, err)
	}
	gone.Path = path
	valid.Store("newer")
	// A file that others may read is not used, and nothing goes without it.
	os.Chmod(path, 0o644)
	os.Chtimes(path, time.Now(), time.Now().Add(time.Hour))
	b.record(1, "a")
	before := requests.Load()
	if err := b.round(); err == nil || !strings.Contains(err.Error(), "want 0600") {
		t.Errorf("mode 0644: %v", err)
	}
	if requests.Load() != before {
		t.Error("a request went without the token")
	}
	if st := b.status(); !strings.Contains(st.Detail, `"misconfigured":"`) {
		t.Errorf("detail %s", st.Detail)
	}
}

func TestSecretsAreNowhereInLogsErrorsAndStatus(t *testing.T) {
	path := mustWrite(t, "token", secret, 0o600)
	echo := func(w http.ResponseWriter, r *http.Request, status int) {
		w.Header().Set("X-Server-Hostname", "host of "+r.Header.Get("Authorization"))
		w.WriteHeader(status)
		fmt.Fprintf(w, `you sent %s and %v`, r.Header.Get("Authorization"), r.Header)
	}
	for _, basic := range []bool{false, true} {
		status := 500
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { echo(w, r, status) }))
		b := newBench(t, server.URL+"/api/v1/import", func(c *config.Config) {
			if c.Remote.TokenFile = path; basic {
				c.Remote.TokenFile, c.Remote.BasicAuth = "", config.BasicAuth{Username: "user", PasswordFile: path}
			}
		})
		b.record(3, "a")
		var all strings.Builder
		for _, status = range []int{500, 401, 403, 400, 413, 301, 200} {
			if err := b.round(); err != nil {
				all.WriteString(err.Error())
			}
			if _, err := b.ship.CheckSkew(t.Context()); err != nil {
				all.WriteString(err.Error())
			}
		}
		server.Close()
		if err := b.round(); err != nil {
			all.WriteString(err.Error())
		}
		statuses, err := b.db.Statuses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&all, statuses, b.log.String())
		b.db.Rejections(t.Context(), func(r store.Rejection) error { fmt.Fprint(&all, r); return nil })
		for _, hidden := range []string{secret, base64.StdEncoding.EncodeToString([]byte("user:" + secret))} {
			if at := strings.Index(all.String(), hidden); at >= 0 {
				t.Errorf("basic %v: the secret is in %q", basic, all.String()[max(0, at-200):at+50])
			}
		}
		if !strings.Contains(all.String(), "[secret]") {
			t.Error("the server's words are not in the log at all")
		}
	}
}

// An authority makes certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, name string, from, to time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})...)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, both
}

func pinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// endedEarly is what writing to a connection that the server has closed says.
var endedEarly = regexp.MustCompile("broken pipe|closed network connection|reset by peer")

func TestTLSIsCheckedAndItsFaultsAreNamed(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	past, future := time.Now().AddDate(0, -1, 0), time.Now().AddDate(0, 1, 0)
	good, goodPEM := ours.issue(t, "127.0.0.1", past, future)
	leaf, err := x509.ParseCertificate(good.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	expired, _ := ours.issue(t, "127.0.0.1", past, time.Now().AddDate(0, 0, -1))
	early, _ := ours.issue(t, "127.0.0.1", time.Now().AddDate(0, 0, 1), future)
	wrongName, _ := ours.issue(t, "example.com", past, future)
	foreign, _ := others.issue(t, "127.0.0.1", past, future)
	ca := mustWrite(t, "ca.pem", string(ours.pem), 0o644)
	own := mustWrite(t, "own.pem", string(goodPEM), 0o600)
	no1, no2 := "sha256/"+strings.Repeat("A", 43)+"=", "sha256/"+strings.Repeat("B", 42)+"A="

	for _, c := range []struct {
		name    string
		cert    tls.Certificate
		server  func(*tls.Config)
		edit    func(*config.Remote)
		fault   string
		outcome string
	}{
		{name: "good", cert: good},
		{name: "good, resumed, pinned key of the server", cert: good, edit: func(r *config.Remote) { r.Pins = []string{no1, pinOf(leaf)} }},
		{name: "pinned key of the authority", cert: good, edit: func(r *config.Remote) { r.Pins = []string{pinOf(ours.cert), no1} }},
		{name: "pins that do not match", cert: good, edit: func(r *config.Remote) { r.Pins = []string{no1, no2} }, fault: "none of remote.pins", outcome: "misconfigured"},
		{name: "a pin does not make a foreign certificate good", cert: foreign, edit: func(r *config.Remote) { r.Pins = []string{pinOf(others.cert), no1} }, fault: "not trusted", outcome: "misconfigured"},
		{name: "expired", cert: expired, fault: "expired on", outcome: "misconfigured"},
		{name: "not yet valid", cert: early, fault: "is the clock set yet?", outcome: "later"},
		{name: "wrong name", cert: wrongName, fault: "wrong name", outcome: "misconfigured"},
		{name: "unknown authority", cert: foreign, fault: "not trusted", outcome: "misconfigured"},
		{name: "TLS 1.1", cert: good, server: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, fault: "protocol version", outcome: "later"},
		{name: "TLS 1.2", cert: good, server: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{name: "client certificate", cert: good, server: func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			c.ClientCAs.AddCert(ours.cert)
		}, edit: func(r *config.Remote) { r.ClientCert, r.ClientKey = own, own }},
		{name: "no client certificate", cert: good, server: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, fault: "certificate required", outcome: "later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Server-Hostname", "one")
				w.WriteHeader(204)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{c.cert}}
			server.Config.ErrorLog = nil
			if c.server != nil {
				c.server(server.TLS)
			}
			server.StartTLS()
			defer server.Close()
			b := newBench(t, server.URL+"/api/v1/import", func(cfg *config.Config) {
				cfg.Remote.CAFile = ca
				if c.edit != nil {
					c.edit(&cfg.Remote)
				}
			})
			for range 2 {
				b.record(1, "a")
				err := b.round()
				// The connection may end before the reason for that arrives.
				for i := 0; i < 100 && err != nil && endedEarly.MatchString(err.Error()); i++ {
					err = b.round()
				}
				if c.fault == "" && err != nil {
					t.Fatal(err)
				}
				if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(b.status().Detail, fmt.Sprintf(`"outcome":%q`, c.outcome))) {
					t.Errorf("%v, %s; want %q", err, b.status().Detail, c.fault)
				}
				server.CloseClientConnections()
				b.ship.client.transport.(*http.Transport).CloseIdleConnections()
			}
			if c.fault != "" {
				b.want(2, 0, 0)
			} else {
				b.want(0, 2, 0)
			}
		})
	}
}

func TestARedirectIsNotFollowedAndGetsNoToken(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		w.Header().Set("X-Server-Hostname", "one")
		w.WriteHeader(204)
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }))
	defer server.Close()
	b := newBench(t, server.URL+"/api/v1/import")
	b.record(1, "a")
	b.round()
	b.ship.CheckSkew(context.Background())
	if elsewhere.Load() != 0 {
		t.Error("the redirect was followed")
	}
	b.want(1, 0, 0)
}

func TestASecretIsTakenOutBeforeTheWordsAreCut(t *testing.T) {
	c := &credentials{Source: secretfile.Source{User: "user"}, sent: "pass  word " + secret}
	long := strings.Repeat("x", maxWords-20) + " " + c.sent
	for _, said := range []string{"you sent " + c.sent, long, strings.Repeat("x", maxWords-len("Basic ")-20) + base64.StdEncoding.EncodeToString([]byte("user:"+c.sent))} {
		if got := c.excerpt([]byte(said)); strings.Contains(got, "pass") || strings.Contains(got, "dXNlcjpw") || len(got) > maxWords {
			t.Errorf("%q", got)
		}
	}
}

func TestAProxyThatRejectsIsNamedAndNoSampleIsRejected(t *testing.T) {
	for status, outcome := range map[int]string{407: "misconfigured", 403: "misconfigured", 400: "later", 502: "later"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, "https://metrics.example.com/api/v1/import")
		b.ship.client.transport.(*http.Transport).Proxy = http.ProxyURL(at)
		b.record(1, "a")
		if err := b.round(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the proxy %s answered HTTP %d", at.Host, status)) {
			t.Errorf("%d: %v", status, err)
		}
		if st := b.status(); !strings.Contains(st.Detail, fmt.Sprintf(`"outcome":%q`, outcome)) {
			t.Errorf("%d: %s", status, st.Detail)
		}
		b.want(1, 0, 0)
		proxy.Close()
	}
}
