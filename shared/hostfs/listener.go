package hostfs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Listener is the process that listens on a port, as far as it can be seen.
type Listener struct {
	PID  int    // 0: not seen
	Name string // of the program; "": not seen
	User int    // whose the socket is
}

// ListenerOn finds the process that listens on a TCP port; ok is false if none is found.
// Another user's processes may hide what they have open, then only the user is
// known. Source: /proc/net/tcp and tcp6 (proc_net(5)), /proc/PID/fd.
func (r Roots) ListenerOn(port int) (l Listener, ok bool) {
	var inode string
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		text, err := os.ReadFile(filepath.Join(r.Proc, name))
		if err != nil {
			continue
		}
		if inode, l.User, ok = listening(string(text), port); ok {
			break
		}
	}
	if !ok {
		return Listener{}, false
	}
	fds, err := filepath.Glob(filepath.Join(r.Proc, "[0-9]*/fd/*"))
	if err != nil {
		return l, true
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		if l.PID, err = strconv.Atoi(filepath.Base(process)); err != nil {
			continue
		}
		if name, err := os.ReadFile(filepath.Join(process, "comm")); err == nil {
			l.Name = strings.TrimSuffix(string(name), "\n")
		}
		break
	}
	return l, true
}

// listening finds the socket in the text of /proc/net/tcp that listens (state
// 0A) on the port.
func listening(text string, port int) (inode string, user int, ok bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" {
			continue
		}
		i := strings.LastIndexByte(f[1], ':')
		at, err := strconv.ParseUint(f[1][i+1:], 16, 16)
		if err != nil || int(at) != port {
			continue
		}
		if user, err = strconv.Atoi(f[7]); err == nil {
			return f[9], user, true
		}
	}
	return "", 0, false
}
