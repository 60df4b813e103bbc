package secretfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const secret = "s3cr3t-token"

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

func TestSecretFileMustBePrivateAndOneLine(t *testing.T) {
	f := func(text string, mode os.FileMode, systemd bool, want string) {
		t.Helper()
		got, err := Source{Path: mustWrite(t, "token", text, mode), Systemd: systemd}.Read()
		switch {
		case want == "" && (err != nil || got != secret):
			t.Errorf("%q mode %o: %q, %v", text, mode, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q mode %o: %v, want %q", text, mode, err, want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	f(secret, 0o600, false, "")
	f(secret+"\n", 0o400, false, "")
	f(secret+"\r\n", 0o600, false, "")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644, 0o620, 0o610, 0o601, 0o777} {
		f(secret, mode, false, "want 0600")
	}
	if os.Geteuid() == 0 { // systemd gives files of root
		f(secret, 0o440, true, "")
		f(secret, 0o444, true, "want 0600")
		f(secret, 0o460, true, "want 0600")
	} else {
		f(secret, 0o440, true, "want 0600")
	}
	f(secret, 0o400, true, "")
	f("", 0o600, false, "empty")
	f("\n", 0o600, false, "empty")
	f(secret+"\nX-Evil: 1", 0o600, false, "more than one line")
	f(secret+"\x00", 0o600, false, "more than one line")
	f(secret+"é", 0o600, false, "more than one line")
	f(strings.Repeat("x", maxBytes+1), 0o600, false, "more than")

	dir := t.TempDir()
	if err := os.Symlink(mustWrite(t, "token", secret, 0o600), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo", "none", "."} {
		if got, err := (Source{Path: filepath.Join(dir, name)}).Read(); err == nil {
			t.Errorf("%s gave %q", name, got)
		}
	}
}
