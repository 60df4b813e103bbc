package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readerUID = 65534
	dataGID   = 61234 // of the files; the reader is in it and in no other
)

func TestTheFilesAreForTheirGroupAlone(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o027, 0o077} {
		old := syscall.Umask(mask)
		path := filepath.Join(t.TempDir(), "data", "metrics.db")
		db, err := Open(t.Context(), path, Options{Device: "d"})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		mustRecord(t, db, Update{Groups: []Group{{Samples: tick(1, 1)}}})
		for name, want := range map[string]fs.FileMode{"": 0o640, "-wal": 0o640, "-shm": 0o640} {
			info, err := os.Stat(path + name)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s has mode %v, want %v, %v", mask, filepath.Base(path)+name, info.Mode(), want, err)
			}
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm()&^0o750 != 0 {
			t.Errorf("umask %03o: the directory has mode %v, %v", mask, info.Mode(), err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The reader in another process: it prints what it finds.
func TestMain(m *testing.M) {
	if path := os.Getenv("READ_DATABASE"); path != "" {
		fmt.Println(readAsHealth(path))
		return
	}
	os.Exit(m.Run())
}

func readAsHealth(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := OpenReader(ctx, path, ReadOptions{})
	if err != nil {
		return fmt.Sprintf("fault %d: %v", FaultOf(err), err)
	}
	defer r.Close()
	s, err := r.Snapshot(ctx)
	if err != nil {
		return fmt.Sprintf("fault %d: %v", FaultOf(err), err)
	}
	return fmt.Sprintf("%d samples", s.Ledger.Captured)
}

// readAs reads the database as a user with read-only rights.
func readAs(t *testing.T, dir, path string) string {
	t.Helper()
	program := filepath.Join(dir, "reader")
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		data, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{"READ_DATABASE=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: readerUID, Gid: dataGID}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAReaderWithReadOnlyRightsDistinguishesTheStates(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "reader") //nolint:usetesting // above a TempDir is a directory of root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o755))
	path := filepath.Join(data, "metrics.db")
	want := func(state, prefix string) {
		t.Helper()
		if got := readAs(t, dir, path); !strings.HasPrefix(got, prefix) {
			t.Errorf("%s: %s, want %s", state, got, prefix)
		}
	}
	fault := func(f Fault) string { return fmt.Sprintf("fault %d:", f) }

	want("no directory", fault(FaultMissing))
	must(os.Mkdir(data, 0o750))
	must(os.Chown(data, 0, dataGID))
	must(os.Chmod(data, 0o2750|fs.ModeSetgid)) // what is made in it is its group's
	want("no writer has run yet", fault(FaultMissing))
	must(CreateEmpty(path))
	want("a writer has just begun", fault(FaultEmpty))

	writer, err := Open(t.Context(), path, Options{Device: "d"})
	must(err)
	shipper, err := Open(t.Context(), path, Options{Device: "d", Synchronous: "NORMAL"})
	must(err)
	mustRecord(t, writer, Update{Groups: []Group{{Samples: tick(1, 7)}}})
	want("both writers run", "7 samples")
	must(shipper.Close())
	want("the shipper is gone", "7 samples")
	must(writer.Close())
	want("both writers are gone", "7 samples")
	files, err := filepath.Glob(path + "*")
	must(err)
	for _, f := range files {
		info, err := os.Stat(f)
		must(err)
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
			t.Errorf("the reader made %s", f)
		}
	}
	must(os.Remove(path + "-shm"))
	want("without the index of the log", fault(FaultDenied))
	writer, err = Open(t.Context(), path, Options{Device: "d"})
	must(err)
	want("a writer runs again", "7 samples")

	// SQLite's own exclusive mode is what keeps readers out.
	must(writer.Close())
	lock := newPools(path, Options{Synchronous: "FULL"}, nil)
	_, err = lock.write.Exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE x (y); COMMIT; DROP TABLE x")
	must(err)
	want("locked", fault(FaultLocked))
	must(errors.Join(lock.write.Close(), lock.read.Close()))

	must(os.Chmod(path, 0o600))
	want("not readable", fault(FaultDenied))
	must(os.Chmod(path, 0o640))
	mustEmptyLog(t, path)
	overwrite(t, path, 0, []byte(strings.Repeat("\xa5", 200)))
	want("damaged", fault(FaultDamaged))
}

func TestSessionsEndAsCompletedOrFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	session := func(id string) Session {
		return Session{ID: id, Start: time.UnixMilli(1000), Metadata: map[string]string{
			"version": "1.2.3", "kernel": "6.1", "boot_id": "b", "board": "Orange Pi 5 Plus",
		}}
	}
	for i, clean := range []bool{true, false, true} {
		db := mustOpen(t, path)
		if err := db.StartSession(t.Context(), session(fmt.Sprint("run-", i))); err != nil {
			t.Fatal(err)
		}
		mustRecord(t, db, Update{Groups: []Group{{Samples: tick(int64(i), 2)}}})
		if clean {
			if err := db.EndSession(t.Context(), time.UnixMilli(2000), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := mustOpen(t, path)
	if err := db.StartSession(t.Context(), session("now")); err != nil {
		t.Fatal(err)
	}
	rows, err := db.read.Query(`SELECT id, status, end_time IS NOT NULL, metadata ->> '$.version', metadata ->> '$.board',
		(SELECT count(*) FROM metrics WHERE session_id = sessions.id) FROM sessions ORDER BY num`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id, status, version, board string
		var ended bool
		var samples int
		if err := rows.Scan(&id, &status, &ended, &version, &board, &samples); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(id, " ", status, " ", ended, " ", version, " ", board, " ", samples))
	}
	want := []string{
		"run-0 completed true 1.2.3 Orange Pi 5 Plus 2",
		"run-1 failed false 1.2.3 Orange Pi 5 Plus 2",
		"run-2 completed true 1.2.3 Orange Pi 5 Plus 2",
		"now active false 1.2.3 Orange Pi 5 Plus 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
