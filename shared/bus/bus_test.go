package bus

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// listening is a socket whose connections are handled so.
func listening(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return "unix:path=" + path
}

func TestABusThatDoesNotAnswerIsGivenUpAfterItsTimeout(t *testing.T) {
	for name, handle := range map[string]func(net.Conn){
		"silent":  func(c net.Conn) { io.Copy(io.Discard, c) },
		"closes":  func(c net.Conn) { c.Close() },
		"noise":   func(c net.Conn) { c.Write([]byte(strings.Repeat("\x00\xff\r\n", 1000))) },
		"refuses": func(c net.Conn) { c.Write([]byte("REJECTED KERBEROS_V4\r\n")) },
		"endless": func(c net.Conn) {
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"lets in and is silent": func(c net.Conn) {
			c.Write([]byte("REJECTED EXTERNAL\r\nOK 0123456789abcdef0123456789abcdef\r\n"))
			io.Copy(io.Discard, c)
		},
		"a message of 100 MB": func(c net.Conn) {
			c.Write([]byte("REJECTED EXTERNAL\r\nOK 0123456789abcdef0123456789abcdef\r\n"))
			time.Sleep(100 * time.Millisecond)
			c.Write([]byte("l\x02\x00\x01\x00\x00\x40\x06\x01\x00\x00\x00\x08\x00\x00\x00\x05\x01u\x00\x01\x00\x00\x00"))
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := listening(t, handle)
			done := make(chan error, 1)
			go func() {
				v, err := Connect(address)
				if err == nil {
					v.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				late := strings.Contains(name, "silent")
				if err == nil || errors.Is(err, ErrAbsent) || late != strings.Contains(err.Error(), "no answer within 2s") {
					t.Errorf("%v, want a failure of its kind", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("still waiting after 30 s")
			}
		})
	}
}

func TestNoBusIsAbsentAndOneThatIsForbiddenFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := Connect("unix:path=" + filepath.Join(dir, "none")); !errors.Is(err, ErrAbsent) {
		t.Errorf("no socket: %v", err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := Connect("unix:path=" + stale); !errors.Is(err, ErrAbsent) {
		t.Errorf("a socket that nobody listens on: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect("tcp:host=192.0.2.1,port=1"); err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("a bus of another machine: %v", err)
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		if _, err := Connect("unix:path=" + stale); !errors.Is(err, syscall.EACCES) {
			t.Errorf("a socket that must not be opened: %v", err)
		}
	}
}

func TestTheSocketOfAnAddressIsFound(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/dbus/x":                  "/run/dbus/x",
		"unix:abstract=/tmp/x,guid=1234":         "@/tmp/x",
		"tcp:host=a,port=1;unix:guid=12,path=/x": "/x",
		"tcp:host=a,port=1":                      "",
		"unix:dir=/tmp":                          "",
		"":                                       "",
		"unixexec:path=ssh":                      "",
	} {
		got, err := socketOf(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
}

func TestValuesBecomePlain(t *testing.T) {
	got := plainMap(map[string]dbus.Variant{
		"ports":  dbus.MakeVariant([][]any{{"wwan0", uint32(2)}}),
		"sim":    dbus.MakeVariant(dbus.ObjectPath("/a")),
		"signal": dbus.MakeVariant(map[string]dbus.Variant{"rsrp": dbus.MakeVariant(-95.5)}),
		"pair":   dbus.MakeVariant([]any{uint32(5), dbus.MakeVariant(true)}),
	})
	want := Properties{"ports": []any{[]any{"wwan0", uint32(2)}}, "sim": "/a", "signal": Properties{"rsrp": -95.5}, "pair": []any{uint32(5), true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if v, ok := got.Number("sim"); ok {
		t.Errorf("a text is the number %v", v)
	}
	if v, ok := got.Map("signal").Number("rsrp"); !ok || v != -95.5 {
		t.Errorf("%v, %t", v, ok)
	}
	if got.List("signal") != nil || got.Text("pair") != "" || got.Map("sim") != nil {
		t.Error("a value of another kind is taken")
	}
}
