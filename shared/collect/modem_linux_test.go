package collect

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/taniwha3/thugshells/shared/bus"
	"github.com/taniwha3/thugshells/shared/bus/modemtest"
)

// program starts one that ends with the test, and returns what stops it.
func programOf(t *testing.T, env []string, name string, args ...string) (stop func()) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s: %s", name, text[max(0, len(text)-4000):])
		}
	})
	t.Cleanup(stop)
	return stop
}

// privateBus starts a bus of the test's own.
func privateBus(t *testing.T) (address string, stop func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "bus")
	address = "unix:path=" + socket
	stop = programOf(t, nil, "dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+address)
	until(t, "the bus listens", func() bool {
		v, err := bus.Connect(address)
		if err == nil {
			v.Close()
		}
		return err == nil
	})
	return address, stop
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain until " + what)
		}
	}
}

// modemOf starts ModemManager in its test mode and gives it a modem; it returns
// what ends it.
func modemManagerOf(t *testing.T, address, port string) (stop func()) {
	t.Helper()
	stop = programOf(t, []string{"DBUS_SESSION_BUS_ADDRESS=" + address}, "ModemManager",
		"--test-session", "--test-enable", "--test-no-udev", "--test-no-suspend-resume", "--test-no-qrtr")
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	until(t, "ModemManager takes a modem", func() bool {
		return conn.Object(modemManager, "/org/freedesktop/ModemManager1").
			Call(modemManager+".Test.SetProfile", 0, port, "generic", []string{port}).Err == nil
	})
	return stop
}

// said runs the collector once over a bus and returns its samples by name, the
// tags of modem.info under that of its own.
func said(t *testing.T, c *modemCollector) (map[string]float64, string) {
	t.Helper()
	samples, err := c.Collect(time.Now())
	if err != nil && !errors.Is(err, ErrNoData) {
		t.Logf("collect: %v", err)
	}
	got, info := map[string]float64{}, ""
	for _, s := range samples {
		got[s.Name] = s.Value
		if s.Name == "modem.info" {
			info = s.Tags
		}
		if strings.Contains(s.Tags, "490154203237518") || strings.Contains(s.Tags, "0010109") {
			t.Errorf("a number of the device or the SIM is told: %s", s.Tags)
		}
	}
	return got, info
}

// TestARealModemManagerIsUnderstood has ModemManager itself look after a modem
// that is a program here, through its states.
func TestARealModemManagerIsUnderstood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    map[string]float64
		absent  []string
	}{
		{"registered", nil, map[string]float64{"modem.state": 8, "modem.registered": 1, "modem.roaming": 0, "modem.signal_percent": 54, "modem.sim_missing": 0}, nil},
		{
			"roaming",
			map[string]string{"+CREG?": "+CREG: 2,5,\"1234\",\"001122BB\",7", "+CGREG?": "+CGREG: 2,5,\"1234\",\"001122BB\",7", "+CEREG?": "+CEREG: 2,5,\"1234\",\"001122BB\",7"},
			map[string]float64{"modem.state": 8, "modem.registered": 1, "modem.roaming": 1},
			nil,
		},
		{
			"searching",
			map[string]string{"+CREG?": "+CREG: 2,2", "+CGREG?": "+CGREG: 2,2", "+CEREG?": "+CEREG: 2,2"},
			map[string]float64{"modem.state": 7, "modem.registered": 0, "modem.roaming": 0},
			[]string{"modem.signal_percent"},
		},
		{"PIN", map[string]string{"+CPIN?": "+CPIN: SIM PIN"}, map[string]float64{"modem.state": 2, "modem.registered": 0, "modem.sim_missing": 0}, []string{"modem.signal_percent"}},
		{"no SIM", map[string]string{"+CPIN?": "+CME ERROR: 10", "+CIMI": "+CME ERROR: 10"}, map[string]float64{"modem.state": -1, "modem.failed_reason": 2, "modem.sim_missing": 1}, []string{"modem.registered", "modem.signal_percent"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, stopBus := privateBus(t)
			c := newModems()
			c.address = address
			if got, _ := said(t, c); len(got) > 0 {
				t.Errorf("nobody is on the bus: %v", got)
			}
			port := fmt.Sprintf("abstract:collect-%d-%s", os.Getpid(), strings.ReplaceAll(tt.name, " ", ""))
			plug(t, port, tt.answers)
			stop := modemManagerOf(t, address, port)
			enable(t, address)
			var got map[string]float64
			until(t, "the modem is "+tt.name, func() bool {
				got, _ = said(t, c)
				for name, want := range tt.want {
					if v, ok := got[name]; !ok || v != want {
						return false
					}
				}
				return true
			})
			for _, name := range tt.absent {
				if v, ok := got[name]; ok {
					t.Errorf("%s is %v, want none", name, v)
				}
			}
			_, info := said(t, c)
			if !strings.Contains(info, `"model":"Tester"`) {
				t.Errorf("modem.info %s", info)
			}
			if tt.name != "registered" {
				return
			}
			stop()
			until(t, "ModemManager is gone", func() bool { got, _ := said(t, c); return len(got) == 0 })
			modemManagerOf(t, address, port)
			until(t, "the modem is back", func() bool { got, _ := said(t, c); return len(got) > 0 })
			stopBus()
			if samples, err := c.Collect(time.Now()); len(samples) > 0 || !errors.Is(err, ErrNoData) {
				t.Errorf("no bus: %d samples, %v", len(samples), err)
			}
		})
	}
}

// plug puts a modem at the port until the test ends.
func plug(t *testing.T, port string, answers map[string]string) {
	t.Helper()
	m, err := modemtest.Plug(port, answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Unplug)
}

// enable enables the modem, as NetworkManager does, once it is there.
func enable(t *testing.T, address string) {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) {
		modem := conn.Object(modemManager, "/org/freedesktop/ModemManager1/Modem/0")
		state, err := modem.GetProperty(modemManager + ".Modem.State")
		if v, ok := state.Value().(int32); err == nil && ok && (v == -1 || v == 2 || v >= 6) {
			return
		}
		if err == nil {
			modem.Call(modemManager+".Modem.Enable", 0, true)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
