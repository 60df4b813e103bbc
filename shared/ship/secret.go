package ship

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/secretfile"
)

// Credentials authorise requests. The secret is in a file, which is read again whenever
// it changes, so that the secret can be replaced at any time.
type credentials struct {
	secretfile.Source

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

// newCredentials finds the file of the secret; dir is systemd's directory of
// credentials, or empty.
func newCredentials(r config.Remote, to *url.URL, dir string) (*credentials, error) {
	source, err := secretfile.Find(r, to, dir)
	if err != nil {
		return nil, err
	}
	return &credentials{Source: source}, nil
}

// header returns the value of the Authorization header, or "" if there is none
// to send.
func (c *credentials) header() (string, error) {
	if c.Path == "" {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		return "", err
	}
	c.sent = c.secret
	if c.User != "" {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.secret)), nil
	}
	return "Bearer " + c.secret, nil
}

// changed says whether the file has another secret than the last request had.
func (c *credentials) changed() bool {
	if c.Path == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.secret
	c.stamp = stamp{} // so that it is read even if its times are the same
	return c.refresh() == nil && c.secret != old
}

// refresh reads the file if it changed.
func (c *credentials) refresh() error {
	info, err := os.Lstat(c.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Key, err)
	}
	now := stampOf(info)
	if c.secret != "" && now == c.stamp {
		return nil
	}
	if c.secret, err = c.Read(); err != nil {
		return err
	}
	c.stamp = now
	return nil
}

// redact removes the secret from a server's message.
func (c *credentials) redact(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range []string{c.sent, c.secret} {
		if one != "" {
			both := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + one))
			text = strings.NewReplacer(one, "[secret]", both, "[secret]").Replace(text)
		}
	}
	return text
}

// excerpt is the start of a server's message without the secret, which is removed
// first, because a secret that was cut would not be found.
func (c *credentials) excerpt(said []byte) string { return excerpt(c.redact(string(said))) }

func stampOf(info os.FileInfo) stamp {
	s := stamp{size: info.Size(), changed: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}
