package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestAllThreeStartTogetherOnNoFile starts the daemons at once on a database
// that does not exist, again and again: making a file a WAL database waits for
// no busy timeout, and each of them must come up all the same.
func TestAllThreeStartTogetherOnNoFile(t *testing.T) {
	t.Parallel()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	port := mustReservePort(t)
	for i := range 50 {
		dir := t.TempDir()
		path := filepath.Join(dir, "metrics.db")
		cfg := filepath.Join(dir, "config.yaml")
		text := fmt.Sprintf("storage: {path: %s}\ntime: {untrusted: ship}\nremote: {url: 'http://127.0.0.1:1/api/v1/import'}\nhealth: {listen: '127.0.0.1:%s'}\nmonitoring: {clock_skew_url: 'http://127.0.0.1:1/health'}\n", path, port)
		if err := os.WriteFile(cfg, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		var cmds []*exec.Cmd
		var logs []*bytes.Buffer
		for _, name := range []string{"metrics-collector", "metrics-shipper", "metrics-health"} {
			var log bytes.Buffer
			cmd := exec.Command(filepath.Join(bin, name), "-config", cfg)
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			cmds, logs = append(cmds, cmd), append(logs, &log)
		}
		deadline := time.Now().Add(patience)
		for {
			out, err := query(path, "SELECT count(*) >= 2 AND (SELECT count(*) FROM samples) > 0 FROM status WHERE component IN ('collector', 'shipper')")
			if err == nil && out == "1\n" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %v %q\n%s\n%s\n%s", i, err, out, logs[0], logs[1], logs[2])
			}
			time.Sleep(20 * time.Millisecond)
		}
		body, status := get("http://127.0.0.1:" + port + "/health/live")
		for ; status != 200 && time.Now().Before(deadline); body, status = get("http://127.0.0.1:" + port + "/health/live") {
			time.Sleep(20 * time.Millisecond)
		}
		if status != 200 {
			t.Errorf("round %d: health is not there: %d %s\n%s", i, status, body, logs[2])
		}
		for j, cmd := range cmds {
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("round %d: %s: %v\n%s", i, cmd.Path, err, logs[j])
			}
		}
		if t.Failed() {
			return
		}
	}
}
