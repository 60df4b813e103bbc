package tests

import (
	"bytes"
	"net"
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
// first, with a server's usual port taken, and then sends what a terminal sends to
// the whole process group, more than once and with TERM after it, as an impatient
// user does.
func TestMakeRunShowsThisMachineAndCtrlCStopsEverything(t *testing.T) {
	t.Parallel()
	var ports []string
	for range 3 {
		port := mustReservePort(t)
		ports = append(ports, port)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:"+ports[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command("make", "-C", "..", "run", "RUN_DIR="+dir, "VM_PORT="+ports[0], "RECEIVER_PORT="+ports[1], "HEALTH_PORT="+ports[2])
	said := filepath.Join(t.TempDir(), "said")
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
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
		deadline := time.Now().Add(patience)
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
	// shown is an address that it prints, up to the path.
	shown := func(what string) string {
		t.Helper()
		re := regexp.MustCompile(what + ` +(http://127\.0\.0\.1:\d+)/`)
		deadline := time.Now().Add(3 * patience) // the build is part of it
		for {
			text, err := os.ReadFile(said)
			if m := re.FindSubmatch(text); m != nil {
				return string(m[1])
			}
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("no address of the %s was printed: %s (%v)", what, text, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	server := shown("samples")
	if strings.HasSuffix(server, ":"+ports[0]) {
		t.Errorf("the server is at the port that is taken: %s", server)
	}
	wait(shown("status")+"/health", `"status": ?"ok"`)
	if there("victoria-metrics") {
		for _, name := range []string{"cpu_usage_percent", "memory_used_bytes", "disk_write_bytes_total", "network_rx_bytes_total"} {
			wait(server+"/api/v1/export?match[]="+name, `"__name__":"`+name+`"`)
		}
	} else { // metrics-receiver took its place
		wait(server+"/", "metrics-receiver")
		wait(shown("status")+"/health", `"delivered": ?[1-9]`)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		syscall.Kill(-cmd.Process.Pid, s) // fails once all are gone
		time.Sleep(30 * time.Millisecond)
	}
	cmd.Wait()
	stopped = true
	// make may be gone before the script, which then stops the programs all the same.
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text, err := os.ReadFile(said)
		left := commandsWith(dir)
		if bytes.Contains(text, []byte("stopped; the data is in")) && len(left) == 0 {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("it did not stop, or did not say so (%v):\n%s\nstill running:\n%q", err, text, left)
		}
	}
	for _, daemon := range []string{"metrics-collector", "metrics-shipper", "metrics-health"} {
		log, err := os.ReadFile(filepath.Join(dir, daemon+".log"))
		if err != nil || !bytes.Contains(log, []byte("stopped")) {
			t.Errorf("%s did not stop cleanly (%v):\n%s", daemon, err, log)
		}
	}
}

// commandsWith are the command lines of processes that have text in theirs.
func commandsWith(text string) (all []string) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		panic(err)
	}
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(text)) { // an error: it has ended
			all = append(all, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return all
}
