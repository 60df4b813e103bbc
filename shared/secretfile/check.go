package secretfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/taniwha3/thugshells/shared/config"
)

// Places are where a unit of systemd gets its credentials from.
type Places struct {
	Given string // $CREDENTIALS_DIRECTORY; "": this is not a unit
	Store string // where LoadCredential= finds belabox-metrics.token and .password; "": nowhere
}

// Here are the places of this machine: the packaged units look for their
// credentials in /etc/credstore, see systemd.exec(5) under LoadCredential=.
func Here() Places {
	return Places{Given: os.Getenv("CREDENTIALS_DIRECTORY"), Store: "/etc/credstore"}
}

// Check looks at the files of credentials and certificates that the shipper will
// use: what is wrong with them, and what was not looked at. Load loads the
// certificates; nil: this program cannot.
func Check(c config.Config, p Places, load func(config.Remote) []error) (faults, unseen []string) {
	if !c.Remote.Enabled {
		return nil, nil
	}
	sort := func(err error) {
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrPermission):
			unseen = append(unseen, err.Error()+"; run it as root")
		default:
			faults = append(faults, err.Error())
		}
	}
	sort(checkSecret(c, p))
	if load != nil {
		for _, err := range load(c.Remote) {
			sort(err)
		}
	} else if c.Remote.CAFile != "" || c.Remote.ClientCert != "" {
		unseen = append(unseen, "what is in the files of certificates: metrics-shipper -check loads them")
	}
	if c.Remote.CAFile != "" {
		sort(readable(c, "remote.ca_file", c.Remote.CAFile))
	}
	if c.Remote.ClientCert != "" && c.Remote.ClientKey != "" {
		sort(readable(c, "remote.client_cert", c.Remote.ClientCert))
		sort(readable(c, "remote.client_key", c.Remote.ClientKey))
	}
	return faults, unseen
}

func checkSecret(c config.Config, p Places) error {
	to, err := url.Parse(c.Remote.URL)
	if err != nil {
		return nil //nolint:nilerr // the configuration's own check says so
	}
	s, err := Find(c.Remote, to, p.Given)
	if p.Given != "" || p.Store == "" {
		if err != nil || s.Path == "" {
			return err
		}
		return s.check(c, s.Path)
	}
	name := "token"
	if s.User != "" {
		name = "password"
	}
	given := filepath.Join(p.Store, "belabox-metrics."+name)
	switch _, err2 := os.Stat(given); {
	case errors.Is(err2, fs.ErrNotExist) && (err != nil || s.Path == ""):
		return err
	case errors.Is(err2, fs.ErrNotExist):
		return s.check(c, s.Path)
	case err2 != nil:
		// The file that is configured is not used if there is a credential.
		return errors.Join(err, fmt.Errorf("systemd credential %s: %w", name, err2))
	}
	s.Key, s.Path, s.Systemd = "systemd credential "+name, given, true
	if err := s.mayGoTo(to, c.Remote.AllowPlaintextToken); err != nil {
		return err
	}
	// Systemd reads it as root, whatever its mode, and follows links.
	f, err := os.OpenFile(given, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	defer f.Close()
	if _, err := line(f, given); err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	return nil
}

// check reads the secret as the daemon will.
func (s Source) check(c config.Config, path string) error {
	user := userOf(c)
	if _, err := read(path, s.Systemd, user); err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && user != 0 && sys.Uid == 0 && !s.Systemd {
		return fmt.Errorf("%s: %s belongs to root, and the owner of the data directory, user %d, cannot read it; give the file to that user, or pass it as a systemd credential",
			s.Key, path, user)
	}
	return nil
}

// userOf is whom the shipper runs as: for root, who may check for others, the
// owner of the data directory.
func userOf(c config.Config) int {
	user := os.Geteuid()
	if user == 0 {
		if info, err := os.Stat(filepath.Dir(c.Storage.Path)); err == nil {
			if sys, ok := info.Sys().(*syscall.Stat_t); ok {
				user = int(sys.Uid)
			}
		}
	}
	return user
}

// readable says whether root can read a file that the shipper cannot. A group
// that may read it is treated as one of the shipper's.
func readable(c config.Config, key, path string) error {
	user := userOf(c)
	info, err := os.Stat(path)
	if os.Geteuid() != 0 || user == 0 || err != nil {
		return nil //nolint:nilerr // reading it says so
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	if !ok || int(sys.Uid) == user && mode&0o400 != 0 || int(sys.Uid) != user && mode&0o044 != 0 {
		return nil
	}
	return fmt.Errorf("%s: %s has mode %04o and belongs to user %d; the owner of the data directory, user %d, cannot read it", key, path, mode, sys.Uid, user)
}
