package secretfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/certfile"
	"github.com/taniwha3/thugshells/shared/config"
)

func TestCheckExaminesTheFilesThatTheShipperWillUse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := write("token", secret, 0o600)
	open := write("open", secret, 0o644)
	empty := write("empty", "", 0o600)
	certText, keyText := newCertificate(t)
	otherText, otherKey := newCertificate(t)
	cert, key := write("ca.pem", certText, 0o644), write("key.pem", keyText, 0o600)
	other, otherKeyFile := write("other.pem", otherText, 0o644), write("other-key.pem", otherKey, 0o600)
	broken := write("broken.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), 0o644)
	text := write("ca.txt", "not PEM", 0o644)
	large := write("large", strings.Repeat("x", 1<<20+1), 0o644)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	write("store/belabox-metrics.token", secret+"\n", 0o644) // as root reads it
	write("bad-store/belabox-metrics.token", "two\nlines\n", 0o600)
	write("given/token", secret, 0o400)

	for _, c := range []struct {
		name  string
		spoil func(c *config.Config, p *Places)
		want  string // of the one fault; "" for none
	}{
		{"nothing", func(*config.Config, *Places) {}, ""},
		{"a token", func(c *config.Config, _ *Places) { c.Remote.TokenFile = token }, ""},
		{"a token that is not there", func(c *config.Config, _ *Places) { c.Remote.TokenFile = filepath.Join(dir, "none") }, "remote.token_file: "},
		{"a token that all may read", func(c *config.Config, _ *Places) { c.Remote.TokenFile = open }, "want 0600"},
		{"an empty token", func(c *config.Config, _ *Places) { c.Remote.TokenFile = empty }, "is empty"},
		{"a pipe", func(c *config.Config, _ *Places) { c.Remote.TokenFile = fifo }, "not a regular file"},
		{"a token in the clear", func(c *config.Config, _ *Places) {
			c.Remote.TokenFile, c.Remote.URL = token, "http://vm.example/api/v1/import"
		}, "would show the secret to the network"},
		{"a password", func(c *config.Config, _ *Places) {
			c.Remote.BasicAuth.Username, c.Remote.BasicAuth.PasswordFile = "u", empty
		}, "remote.basic_auth.password_file: "},
		{"uploads are off", func(c *config.Config, _ *Places) { c.Remote.Enabled, c.Remote.TokenFile = false, open }, ""},

		{"a credential of this unit", func(c *config.Config, p *Places) { p.Given, c.Remote.TokenFile = filepath.Join(dir, "given"), open }, ""},
		{"a credential of this unit, in the clear", func(c *config.Config, p *Places) {
			p.Given, c.Remote.URL = filepath.Join(dir, "given"), "http://vm.example/api/v1/import"
		}, "systemd credential token: remote.url is http"},
		{"a stored credential", func(c *config.Config, p *Places) { p.Store, c.Remote.TokenFile = filepath.Join(dir, "store"), open }, ""},
		{"a stored credential, in the clear", func(c *config.Config, p *Places) {
			p.Store, c.Remote.URL = filepath.Join(dir, "store"), "http://vm.example/api/v1/import"
		}, "systemd credential token: remote.url is http"},
		{"a stored credential of two lines", func(_ *config.Config, p *Places) { p.Store = filepath.Join(dir, "bad-store") }, "more than one line"},
		{"an empty store", func(c *config.Config, p *Places) { p.Store, c.Remote.TokenFile = dir, open }, "want 0600"},

		{"a certificate", func(c *config.Config, _ *Places) { c.Remote.CAFile = cert }, ""},
		{"no certificate", func(c *config.Config, _ *Places) { c.Remote.CAFile = text }, "remote.ca_file: " + text + " holds no certificate in PEM"},
		{"a certificate that is cut", func(c *config.Config, _ *Places) { c.Remote.CAFile = broken }, broken + " holds no certificate"},
		{"a directory", func(c *config.Config, _ *Places) { c.Remote.CAFile = dir }, "got a directory"},
		{"a pair", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = cert, key }, ""},
		{"two pairs mixed up", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = cert, otherKeyFile }, "remote.client_cert: " + cert + " with the key " + otherKeyFile + ": tls: private key does not match"},
		{"the pair in the wrong order", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = key, cert }, "remote.client_cert: " + key},
		{"a certificate for a key", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = cert, other }, other},
		{"a pair whose certificate is cut", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = broken, key }, broken},
		{"a certificate of a megabyte", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = large, key }, "remote.client_cert: " + large},
		{"a key that is a pipe", func(c *config.Config, _ *Places) { c.Remote.ClientCert, c.Remote.ClientKey = cert, fifo }, "remote.client_key: " + fifo},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Storage.Path, cfg.Remote.URL = filepath.Join(dir, "metrics.db"), "https://vm.example/api/v1/import"
			var p Places
			c.spoil(&cfg, &p)
			faults, unseen := Check(cfg, p, certfile.Load)
			all := strings.Join(faults, "\n")
			if len(unseen) > 0 || c.want == "" && all != "" || c.want != "" && (len(faults) != 1 || !strings.Contains(all, c.want)) {
				t.Errorf("faults %q, unseen %q; want %q", faults, unseen, c.want)
			}
			if strings.Contains(all, secret) {
				t.Errorf("the secret is repeated: %s", all)
			}
		})
	}
}

// newCertificate makes a certificate that signs itself, and its key.
func newCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

// checkedByRoot is a configuration whose data directory belongs to user 12345.
func checkedByRoot(t *testing.T) config.Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.Path, cfg.Remote.URL = filepath.Join(dir, "metrics.db"), "https://vm.example/api/v1/import"
	return cfg
}

func TestRootChecksWhetherTheDaemonCanReadTheKey(t *testing.T) {
	cfg := checkedByRoot(t)
	certText, keyText := newCertificate(t)
	cfg.Remote.ClientCert, cfg.Remote.ClientKey = mustWrite(t, "cert", certText, 0o644), mustWrite(t, "key", keyText, 0o600)
	for _, c := range []struct {
		owner int
		mode  os.FileMode
		want  string
	}{
		{0, 0o600, "remote.client_key: " + cfg.Remote.ClientKey + " has mode 0600 and belongs to user 0; the owner of the data directory, user 12345, cannot read it"},
		{12345, 0o600, ""},
		{12345, 0o200, "mode 0200"},
		{0, 0o640, ""},
		{0, 0o644, ""},
	} {
		if err := errors.Join(os.Chown(cfg.Remote.ClientKey, c.owner, 0), os.Chmod(cfg.Remote.ClientKey, c.mode)); err != nil {
			t.Fatal(err)
		}
		faults, _ := Check(cfg, Places{}, certfile.Load)
		if got := strings.Join(faults, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("owner %d, mode %o: %q, want %q", c.owner, c.mode, got, c.want)
		}
	}
}

func TestCheckReportsFilesThatItMayNotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may look at everything; tests/testdata/script has it as a user")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Remote.URL, cfg.Remote.TokenFile = "https://vm.example/api/v1/import", filepath.Join(dir, "token")
	if faults, unseen := Check(cfg, Places{}, certfile.Load); len(faults) > 0 || len(unseen) != 1 || !strings.HasSuffix(unseen[0], "; run it as root") {
		t.Errorf("faults %q, unseen %q", faults, unseen)
	}
}

func TestRootChecksForTheUserOfTheDaemon(t *testing.T) {
	cfg := checkedByRoot(t)
	cfg.Remote.TokenFile = mustWrite(t, "token", secret, 0o600)
	for owner, want := range map[int]string{0: "belongs to root, and the owner of the data directory, user 12345", 12345: "", 777: "belongs to user 777"} {
		if err := os.Chown(cfg.Remote.TokenFile, owner, 0); err != nil {
			t.Fatal(err)
		}
		faults, _ := Check(cfg, Places{}, certfile.Load)
		if got := strings.Join(faults, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("owner %d: %q, want %q", owner, got, want)
		}
	}
}

func TestCheckReportsThatCertificatesWereNotLoaded(t *testing.T) {
	cfg := config.Default()
	cfg.Remote.URL = "https://vm.example/api/v1/import"
	if faults, unseen := Check(cfg, Places{}, nil); len(faults)+len(unseen) > 0 {
		t.Errorf("without certificates: faults %q, unseen %q", faults, unseen)
	}
	cfg.Remote.CAFile = mustWrite(t, "ca.pem", "no certificate", 0o644)
	if faults, unseen := Check(cfg, Places{}, nil); len(faults) > 0 || len(unseen) != 1 || !strings.Contains(unseen[0], "metrics-shipper -check") {
		t.Errorf("with one: faults %q, unseen %q", faults, unseen)
	}
}
