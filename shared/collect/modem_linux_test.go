package collect

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/taniwha3/thugshells/shared/bus"
)

// An atModem answers the commands of ModemManager as a modem with one SIM does.
type atModem struct {
	mu      sync.Mutex
	answers map[string]string // "": ERROR
}

// set changes answers while the modem runs.
func (m *atModem) set(answers map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.answers, answers)
}

func newATModem(answers map[string]string) *atModem {
	m := &atModem{answers: map[string]string{
		"+GCAP": "+GCAP: +CGSM", "I": "Maker\r\nTester\r\n1.0", "+CGMI": "Maker", "+CGMM": "Tester", "+CGMR": "1.0", "+CGSN": "490154203237518",
		"+WS46=?": "+WS46: (12,22,25,28)", "+CGDCONT=?": "+CGDCONT: (1-16),\"IP\",,,(0-2),(0-4)", "+CIMI": "001010987654321", "+CFUN?": "+CFUN: 1",
		"+CSCS=?": "+CSCS: (\"IRA\",\"UCS2\",\"GSM\")", "+CPIN?": "+CPIN: READY", "+CLCK=?": "+CLCK: (\"SC\")", "+CLCK=\"SC\",2": "+CLCK: 0", "+CMGF=?": "+CMGF: (0,1)",
		"+CREG?": "+CREG: 2,1,\"1234\",\"001122BB\",7", "+CGREG?": "+CGREG: 2,1,\"1234\",\"001122BB\",7", "+CEREG?": "+CEREG: 2,1,\"1234\",\"001122BB\",7",
		"+COPS=3,2;+COPS?": "+COPS: 0,2,\"00101\",7", "+COPS=3,0;+COPS?": "+COPS: 0,0,\"Test Network\",7", "+CSQ": "+CSQ: 17,99",
		"+CESQ": "+CESQ: 99,99,255,255,19,46", "+CESQ=?": "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",
		"+CRSM=176,12258,0,0,10": "+CRSM: 144,0,\"98101430121181157002\"",
	}}
	m.set(answers)
	return m
}

// serve answers on an abstract socket, whose name has the word for it in front.
func (m *atModem) serve(t *testing.T, port string) {
	t.Helper()
	l, err := net.Listen("unix", "@"+port)
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
			go m.talk(conn)
		}
	}()
}

func (m *atModem) talk(conn net.Conn) {
	defer conn.Close()
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\r')
		if err != nil {
			return
		}
		command := strings.TrimPrefix(strings.TrimSpace(line), "AT")
		m.mu.Lock()
		answer, known := m.answers[command]
		m.mu.Unlock()
		reply := "\r\nERROR\r\n"
		switch {
		case known && strings.HasPrefix(answer, "+CME ERROR"):
			reply = "\r\n" + answer + "\r\n"
		case known:
			reply = "\r\n" + answer + "\r\n\r\nOK\r\n"
		default:
			for _, ok := range []string{"E0", "V1", "+CMEE", "X4", "&C1", "+IFC", "+CREG=", "+CGREG=", "+CEREG=", "+CSCS=", "+CMGF=", "+CFUN=", "Z", "+COPS=", "Q0", "S0", "+CPIN="} {
				if command == "" || strings.HasPrefix(command, ok) {
					reply = "\r\nOK\r\n"
				}
			}
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

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
			newATModem(tt.answers).serve(t, port)
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
