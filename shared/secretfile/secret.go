// Package secretfile finds and reads the one credential of the shipper: a token or a
// password, in a file that no other user may read.
//
// The one rule here: no error repeats what is in the file.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/taniwha3/thugshells/shared/config"
)

// maxBytes bounds a token or password.
const maxBytes = 4096

// A Source is where the secret is.
type Source struct {
	Key     string // the configuration key, for errors
	Path    string // "": there is none
	Systemd bool   // the file is systemd's, see systemd.exec(5), LoadCredential=
	User    string // basic authentication; "": bearer token
}

// Find returns where the secret for requests to an address is; dir is systemd's
// directory of credentials, or empty. It fails if the secret would go over the
// network in plain text.
func Find(r config.Remote, to *url.URL, dir string) (s Source, err error) {
	s = Source{Key: "remote.token_file", Path: r.TokenFile}
	name := "token"
	if r.BasicAuth.Username != "" {
		s.Key, s.Path, s.User, name = "remote.basic_auth.password_file", r.BasicAuth.PasswordFile, r.BasicAuth.Username, "password"
	}
	if dir != "" {
		given := filepath.Join(dir, name)
		if _, err := os.Lstat(given); err == nil {
			s.Key, s.Path, s.Systemd = "systemd credential "+name, given, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("systemd credential %s: %w", name, err)
		}
	}
	return s, s.mayGoTo(to, r.AllowPlaintextToken)
}

// mayGoTo fails if requests would show the secret to the network.
func (s Source) mayGoTo(to *url.URL, allowed bool) error {
	if s.Path == "" || to.Scheme != "http" || Loopback(to.Hostname()) || allowed {
		return nil
	}
	return fmt.Errorf("%s: remote.url is http to %s, which would show the secret to the network; use https, or set remote.allow_plaintext_token",
		s.Key, to.Hostname())
}

// Read returns the secret.
func (s Source) Read() (string, error) {
	text, err := read(s.Path, s.Systemd, os.Geteuid())
	if err == nil && s.User == "" && strings.Contains(text, " ") {
		err = errors.New("contains a space; a token has none")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Key, err)
	}
	return text, nil
}

// read reads one line from a file that no other user may read: a regular file, no
// link, of root or of the user, with no rights for group and others. Files of
// systemd may be root's with 0440, as it makes them where it cannot change the
// owner.
func read(path string, systemd bool, user int) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: its owner is not known", path)
	}
	forbidden := fs.FileMode(0o077)
	if systemd && sys.Uid == 0 {
		forbidden = 0o037
	}
	if sys.Uid != 0 && int(sys.Uid) != user {
		return "", fmt.Errorf("%s belongs to user %d; want root or the user of this process", path, sys.Uid)
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return "", fmt.Errorf("%s has mode %04o and others may read or write it; want 0600", path, mode)
	}
	return line(f, path)
}

// line reads the one line of f.
func line(f io.Reader, path string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxBytes {
		return "", fmt.Errorf("%s holds more than %d bytes", path, maxBytes)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	for _, b := range []byte(text) {
		if b < ' ' || b >= 0x7f {
			return "", fmt.Errorf("%s holds more than one line of plain characters", path)
		}
	}
	return text, nil
}

// Loopback says whether a host is this machine.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
