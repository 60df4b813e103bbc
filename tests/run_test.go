package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMakeRunShowsThisMachineAndCtrlCStopsEverything runs what a newcomer types
// first, and then sends what a terminal sends to the whole process group.
func TestMakeRunShowsThisMachineAndCtrlCStopsEverything(t *testing.T) {
	var ports []string
	for range 3 {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command("make", "-C", "..", "run", "RUN_DIR="+dir, "VM_PORT="+ports[0], "RECEIVER_PORT="+ports[1], "HEALTH_PORT="+ports[2])
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "RUN_DIR="+dir, "VM_PORT="+ports[0], "RECEIVER_PORT="+ports[1], "HEALTH_PORT="+ports[2])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			cmd.Wait()
		}
	})
	wait := func(url, want string) {
		t.Helper()
		re := regexp.MustCompile("(?s)" + want)
		deadline := time.Now().Add(3 * patience) // the build is part of it
		for {
			body, _ := get(url)
			if re.MatchString(body) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: want %s, last: %s", url, want, body)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	wait("http://127.0.0.1:"+ports[2]+"/health", `"status": ?"ok"`)
	for _, name := range []string{"cpu_usage_percent", "memory_used_bytes", "disk_write_bytes_total", "network_rx_bytes_total"} {
		wait("http://127.0.0.1:"+ports[0]+"/api/v1/export?match[]="+name, `"__name__":"`+name+`"`)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	stopped = true
	if !strings.Contains(out.String(), "stopped; the data is in") {
		t.Errorf("it did not say that it stopped:\n%s", out.String())
	}
	left, err := exec.Command("pgrep", "-af", dir).Output()
	if err == nil {
		t.Errorf("still running:\n%s", left)
	}
	for _, daemon := range []string{"metrics-collector", "metrics-shipper", "metrics-health"} {
		log, err := os.ReadFile(filepath.Join(dir, daemon+".log"))
		if err != nil || !bytes.Contains(log, []byte("stopped")) {
			t.Errorf("%s did not stop cleanly (%v):\n%s", daemon, err, log)
		}
	}
}
