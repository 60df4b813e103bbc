package ship

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// TestFilesOfCertificatesThatAreNoneAreRefusedAtOnce puts what is no file, or is
// no end of one, in the place of each file of certificates.
func TestFilesOfCertificatesThatAreNoneAreRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	fifo, big := filepath.Join(dir, "fifo"), filepath.Join(dir, "big")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 1<<30); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, path := range map[string]string{"a FIFO": fifo, "a directory": dir, "a device": "/dev/zero", "larger than 1 MiB": big} {
		for key, r := range map[string]config.Remote{
			"remote.ca_file": {CAFile: path}, "remote.client_cert": {ClientCert: path, ClientKey: good}, "remote.client_key": {ClientCert: good, ClientKey: path},
		} {
			begun := time.Now()
			_, err := newTLS(r)
			if err == nil || !strings.HasPrefix(err.Error(), key+": "+path) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s is %s: %v", key, what, err)
			}
			if took := time.Since(begun); took > 10*time.Second { // reading a gigabyte, or waiting
				t.Errorf("%s is %s: after %s", key, what, took)
			}
		}
	}
}
