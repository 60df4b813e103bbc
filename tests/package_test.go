package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestALaterCommitIsANewerPackage: of two commits of one day, whatever their
// hashes and zones, apt takes the later for the newer.
func TestALaterCommitIsANewerPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("dpkg compares the versions")
	}
	script, err := filepath.Abs("../systemd/package/version.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(at time.Time, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a.invalid", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a.invalid",
			"GIT_AUTHOR_DATE="+at.Format(time.RFC3339), "GIT_COMMITTER_DATE="+at.Format(time.RFC3339))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	east, west := time.FixedZone("", 9*3600), time.FixedZone("", -8*3600)
	at := time.Date(2026, 11, 23, 20, 59, 58, 0, time.UTC)
	run(at, "git", "init", "-q")
	run(at, "git", "commit", "-q", "--allow-empty", "-m", "first")
	last, hash := run(at, "sh", script), run(at, "git", "rev-parse", "HEAD")
	if !strings.HasPrefix(last, "0~git20261123.205958.") {
		t.Errorf("the version is %q, want the commit's time in UTC", last)
	}
	disorder := 0
	for i := range 12 {
		at = at.Add(time.Minute).In([]*time.Location{east, west}[i%2])
		run(at, "git", "commit", "-q", "--allow-empty", "-m", at.String())
		next, nextHash := run(at, "sh", script), run(at, "git", "rev-parse", "HEAD")
		run(at, "dpkg", "--compare-versions", last, "lt", next)
		if nextHash < hash {
			disorder++
		}
		last, hash = next, nextHash
	}
	if disorder == 0 {
		t.Error("the hashes were in order: nothing was shown")
	}
	run(at, "git", "tag", "v1.0.0")
	tagged := run(at, "sh", script)
	run(at, "dpkg", "--compare-versions", last, "lt", tagged)
	run(at.Add(time.Hour), "git", "commit", "-q", "--allow-empty", "-m", "after the tag")
	run(at, "dpkg", "--compare-versions", tagged, "lt", run(at, "sh", script))
}
