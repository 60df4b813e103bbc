package hostfs

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestTheListenerOfAPortIsNamed(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		got, ok := Roots{Proc: "/proc"}.ListenerOn(port)
		if !ok || got.PID != os.Getpid() || got.User != os.Geteuid() || !strings.HasPrefix("hostfs.test", got.Name) {
			t.Errorf("%s: %+v, %v", address, got, ok)
		}
		l.Close()
		if got, ok := (Roots{Proc: "/proc"}).ListenerOn(port); ok {
			t.Errorf("closed: %+v", got)
		}
	}
}

func FuzzListening(f *testing.F) {
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 21034 1 0000000000000000 100 0 0 10 0\n", 9100)
	f.Add("0: : x 0A\n", 1)
	f.Fuzz(func(t *testing.T, text string, port int) {
		if inode, _, ok := listening(text, port); ok && (inode == "" || port < 0 || port > 65535) {
			t.Errorf("%q on %d: %q", text, port, inode)
		}
	})
}
