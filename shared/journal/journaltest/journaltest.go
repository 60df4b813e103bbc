// Package journaltest makes journal files for tests, with systemd's own program.
package journaltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// remote writes journal files of the Journal Export Format.
const remote = "/lib/systemd/systemd-journal-remote"

// Formats are the ways in which systemd writes a file, as variables of its
// environment: compact or regular, with keyed hashes or without.
var Formats = [][]string{
	{"SYSTEMD_JOURNAL_COMPACT=0", "SYSTEMD_JOURNAL_KEYED_HASH=0"},
	{"SYSTEMD_JOURNAL_COMPACT=0", "SYSTEMD_JOURNAL_KEYED_HASH=1"},
	{"SYSTEMD_JOURNAL_COMPACT=1", "SYSTEMD_JOURNAL_KEYED_HASH=0"},
	{"SYSTEMD_JOURNAL_COMPACT=1", "SYSTEMD_JOURNAL_KEYED_HASH=1"},
}

// Need skips the test where systemd's programs are missing; in CI it fails.
func Need(t testing.TB) {
	t.Helper()
	for _, program := range []string{remote, "/usr/bin/journalctl"} {
		if _, err := os.Stat(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: Debian package systemd-journal-remote", program)
			}
			t.Skipf("%s is missing: Debian package systemd-journal-remote", program)
		}
	}
}

// Write appends the entries of an export to a journal file, which it makes where
// there is none.
func Write(t testing.TB, path, export string, env ...string) {
	t.Helper()
	Need(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), remote, "--output="+path, "-")
	cmd.Stdin = strings.NewReader(export)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

// Oracle returns what journalctl says is in a file, one JSON object a line.
func Oracle(t testing.TB, path string) [][]byte {
	t.Helper()
	Need(t)
	out, err := exec.CommandContext(t.Context(), "journalctl", "--file", path, "-o", "json", "--all", "--no-pager", "-q").Output()
	if err != nil {
		t.Fatalf("journalctl: %v", err)
	}
	return slices.DeleteFunc(bytes.Split(out, []byte("\n")), func(line []byte) bool { return len(line) == 0 })
}

// Boot is the boot id of the entries that Export makes.
const Boot = "0123456789abcdef0123456789abcdef"

// Export makes one entry in the Journal Export Format: fields are NAME=value.
func Export(realtime, monotonic int64, boot string, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n", realtime, monotonic, boot)
	for _, f := range fields {
		b.WriteString(f + "\n")
	}
	return b.String() + "\n"
}
