package ship

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// maxSecretBytes bounds a token or password.
const maxSecretBytes = 4096

// Credentials authorise requests. The secret is in a file, which is read again
// whenever it is another one, so that it can be replaced at any time.
type credentials struct {
	key     string // the config key, for errors
	path    string // empty: there are none
	systemd bool   // the file is systemd's, see systemd.exec(5), LoadCredential=
	user    string // basic authentication; empty: bearer token

	mu     sync.Mutex
	stamp  stamp
	secret string
	sent   string // the last secret that a request had
}

// A stamp changes when a file is written or replaced.
type stamp struct {
	inode   uint64
	size    int64
	changed time.Time
}

// newCredentials finds where the secret is; dir is systemd's directory of
// credentials, or empty.
func newCredentials(r config.Remote, to *url.URL, dir string) (*credentials, error) {
	c := &credentials{key: "remote.token_file", path: r.TokenFile}
	name := "token"
	if r.BasicAuth.Username != "" {
		c.key, c.path, c.user, name = "remote.basic_auth.password_file", r.BasicAuth.PasswordFile, r.BasicAuth.Username, "password"
	}
	if dir != "" {
		given := filepath.Join(dir, name)
		if _, err := os.Lstat(given); err == nil {
			c.key, c.path, c.systemd = "systemd credential "+name, given, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("systemd credential %s: %w", name, err)
		}
	}
	if c.path != "" && to.Scheme == "http" && !loopback(to.Hostname()) && !r.AllowPlaintextToken {
		return nil, fmt.Errorf("%s: remote.url is http to %s, which would show the secret to the network; use https, or set remote.allow_plaintext_token", c.key, to.Hostname())
	}
	return c, nil
}

// header returns the value of the Authorization header, or "" if there is none
// to send.
func (c *credentials) header() (string, error) {
	if c.path == "" {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		return "", err
	}
	c.sent = c.secret
	if c.user != "" {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.secret)), nil
	}
	return "Bearer " + c.secret, nil
}

// changed says that the file holds another secret than the last request had.
func (c *credentials) changed() bool {
	if c.path == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.secret
	c.stamp = stamp{} // read it, whatever the times say
	return c.refresh() == nil && c.secret != old
}

// refresh reads the file if it changed.
func (c *credentials) refresh() error {
	info, err := os.Lstat(c.path)
	if err != nil {
		return fmt.Errorf("%s: %w", c.key, err)
	}
	now := stampOf(info)
	if c.secret != "" && now == c.stamp {
		return nil
	}
	secret, err := readSecret(c.path, c.systemd)
	if err == nil && c.user == "" && strings.Contains(secret, " ") {
		err = errors.New("holds a space, which no token has")
	}
	if err != nil {
		c.secret = ""
		return fmt.Errorf("%s: %w", c.key, err)
	}
	c.secret, c.stamp = secret, now
	return nil
}

// redact takes the secret out of what a server said.
func (c *credentials) redact(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range []string{c.sent, c.secret} {
		if one != "" {
			both := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + one))
			text = strings.NewReplacer(one, "[secret]", both, "[secret]").Replace(text)
		}
	}
	return text
}

// words is the start of what a server said, without the secret: that is taken
// out first, as what is left of one after cutting would not be known for it.
func (c *credentials) excerpt(said []byte) string { return excerpt(c.redact(string(said))) }

func stampOf(info os.FileInfo) stamp {
	s := stamp{size: info.Size(), changed: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// readSecret reads one line from a file that nobody else may read: a regular
// file, no link, of root or of this user, with no rights for group and others.
// Files of systemd may be root's with 0440, as it makes them where it cannot
// change the owner. No error repeats what is in the file.
func readSecret(path string, systemd bool) (string, error) {
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
	if sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s belongs to user %d; want root or the user of this process", path, sys.Uid)
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return "", fmt.Errorf("%s has mode %04o and others may read or write it; want 0600", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxSecretBytes {
		return "", fmt.Errorf("%s holds more than %d bytes", path, maxSecretBytes)
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
