package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A user without the rights to read the database gets an error that says what to do, and not
// shown a status of nothing.
func TestAUserWithoutRightsGetsAnErrorThatSaysSo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data, config, program := filepath.Join(dir, "data"), filepath.Join(dir, "c.yaml"), filepath.Join(dir, "metrics-health")
	text := fmt.Sprintf("device: {id: board-1}\nstorage: {path: %s/metrics.db}\nremote: {enabled: false}\n", data)
	binary, err := os.ReadFile(filepath.Join(bin, "metrics-health"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(data, 0o750), os.WriteFile(config, []byte(text), 0o644), os.WriteFile(program, binary, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(filepath.Join(bin, "metrics-collector"), "-config", config, "-once").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"-status"}, {"-status", "-q"}} {
		for _, group := range []uint32{65534, 12345} { // a stranger's, and that of the files
			if err := os.Chown(data, 0, 12345); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, append(args, "-config", config)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: group}}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // degraded or error, either way
			told := strings.Contains(stderr.String(), "cannot be read by user 65534; run as root or as a member of group metrics")
			if told != (stdout.Len() == 0) || group == 65534 && !told {
				t.Errorf("%v as group %d: stdout %q, stderr %q", args, group, stdout.String(), stderr.String())
			}
		}
	}
}
