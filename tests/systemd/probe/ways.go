package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const state = "/var/lib/belabox-metrics"

// ways are the ways out of a sandbox. Each returns nil where it got out.
var ways = []struct {
	name string
	out  func() error
}{
	{"socket-unix", socket(unix.AF_UNIX, unix.SOCK_STREAM)},
	{"socket-inet", socket(unix.AF_INET, unix.SOCK_STREAM)},
	{"socket-inet6", socket(unix.AF_INET6, unix.SOCK_DGRAM)},
	{"socket-netlink", socket(unix.AF_NETLINK, unix.SOCK_RAW)},
	{"socket-packet", socket(unix.AF_PACKET, unix.SOCK_RAW)},
	{"socket-vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM)},
	{"listen-9100", listen(9100)},
	{"listen-9101", listen(9101)},
	{"send-loopback", send(127, 0, 0, 1)},
	{"send-elsewhere", send(192, 0, 2, 7)},

	{"write-root", write("/")},
	{"write-etc", write("/etc")},
	{"write-usr", write("/usr")},
	{"write-var", write("/var/lib")},
	{"write-home", write("/home")},
	{"write-run", write("/run")},
	{"write-shm", write("/dev/shm")},
	{"write-tmp", write("/tmp")},
	{"write-var-tmp", write("/var/tmp")},
	{"write-other-mount", writeOtherMount},
	{"write-state", write(state)},
	{"write-database", open(state+"/metrics.db", os.O_RDWR)},
	{"write-lock", open(state+"/metrics-collector.lock", os.O_RDWR)},
	{"write-config", open("/etc/belabox-metrics/config.yaml", os.O_RDWR)},
	{"write-sysctl", open("/proc/sys/kernel/panic", os.O_WRONLY)},
	{"write-sysfs", open("/sys/kernel/mm/ksm/run", os.O_WRONLY)},
	{"write-cgroup", func() error { return made(os.Mkdir("/sys/fs/cgroup/probe", 0o700), "/sys/fs/cgroup/probe") }},

	{"read-database", open(state+"/metrics.db", os.O_RDONLY)},
	{"read-token", open("/etc/belabox-metrics/token", os.O_RDONLY)},
	{"read-credential", open("/run/credentials/metrics-shipper.service/token", os.O_RDONLY)},
	{"read-shadow", open("/etc/shadow", os.O_RDONLY)},
	{"read-kmsg", open("/dev/kmsg", os.O_RDONLY)},
	{"read-kcore", open("/proc/kcore", os.O_RDONLY)},
	{"read-disk", open("/dev/vda", os.O_RDONLY)},
	{"see-init", func() error { _, err := os.ReadFile("/proc/1/cmdline"); return err }},
	{"signal-init", func() error { return unix.Kill(1, 0) }},

	{"mount", func() error { return mounted(unix.Mount("none", "/mnt", "tmpfs", 0, "")) }},
	{"chroot", func() error { return unix.Chroot("/") }},
	{"mknod", func() error {
		return made(unix.Mknod("/tmp/probe.node", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), "/tmp/probe.node")
	}},
	{"unshare-user", unshare(unix.CLONE_NEWUSER)},
	{"unshare-mount", unshare(unix.CLONE_NEWNS)},
	{"unshare-net", unshare(unix.CLONE_NEWNET)},
	{"become-root", func() error { return unix.Setresuid(0, 0, 0) }},
	{"run-program", func() error { return run("/usr/bin/true", nil) }},
	{"run-own-file", runOwn},
	{"setuid-bit", setuidBit},
	{"ptrace", func() error { return run("/proc/self/exe", &syscall.SysProcAttr{Ptrace: true}) }},
	{"bpf", raw(unix.SYS_BPF, 0xffff, 0, 0)},
	{"perf", raw(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0)},
	{"io-uring", raw(unix.SYS_IO_URING_SETUP, 0, 0, 0)},
	{"keyring", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return err }},
	{"personality", raw(unix.SYS_PERSONALITY, 0x0008, 0, 0)}, // PER_LINUX32
	{"module", func() error { return unix.DeleteModule("no_such_module", unix.O_NONBLOCK) }},
	{"realtime", realtime},
	{"raise-priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) }},
	{"write-exec-memory", func() error { return mapped(unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC) }},
	{"hostname", func() error { return unix.Sethostname([]byte("board")) }},
	{"read-clock-state", func() error { _, err := unix.Adjtimex(&unix.Timex{}); return err }},
	{"set-clock-state", func() error { _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: 10000}); return err }},
	{"reboot", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }}, // only what Ctrl-Alt-Del does
}

func socket(family, kind int) func() error {
	return func() error {
		fd, err := unix.Socket(family, kind, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func listen(port int) func() error {
	return func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	}
}

// send sends a datagram: a filter by address refuses it with EPERM.
func send(a, b, c, d byte) func() error {
	return func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{a, b, c, d}})
	}
}

// write creates a file in dir, and leaves it there as a trace.
func write(dir string) func() error {
	return func() error { return os.WriteFile(trace(dir), nil, 0o600) }
}

func trace(dir string) string { return filepath.Join(dir, fmt.Sprint("probe.trace.", os.Getpid())) }

// writeOtherMount looks for a mount point that can be written to, besides those
// that a daemon has for itself.
func writeOtherMount() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		dir := strings.Fields(line)[1]
		if dir != state && dir != "/tmp" && dir != "/var/tmp" && os.WriteFile(trace(dir), nil, 0o600) == nil {
			fmt.Println("# writable:", dir)
			return nil
		}
	}
	return errors.New("no mount point is writable")
}

func open(path string, flag int) func() error {
	return func() error {
		f, err := os.OpenFile(path, flag, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}
}

// made removes what a way made.
func made(err error, path string) error {
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func mounted(err error) error {
	if err != nil {
		return err
	}
	return unix.Unmount("/mnt", unix.MNT_DETACH)
}

// unshare runs in a thread that ends with it.
func unshare(flag int) func() error {
	return func() error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			done <- unix.Unshare(flag | unix.CLONE_FS)
		}()
		return <-done
	}
}

func run(path string, attr *syscall.SysProcAttr) error {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec(path, []string{"probe"}, &syscall.ProcAttr{Sys: attr})
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}

// runOwn runs a file that it wrote itself.
func runOwn() error {
	const path = "/tmp/probe.program"
	program, err := os.ReadFile("/usr/bin/true")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, program, 0o700); err != nil {
		return err
	}
	return made(run(path, nil), path)
}

func setuidBit() error {
	const path = "/tmp/probe.setuid"
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		return err
	}
	return made(unix.Chmod(path, 0o4700), path)
}

// raw makes a call with arguments that the kernel itself refuses, in another
// way than a filter does.
func raw(call, a, b, c uintptr) func() error {
	return func() error {
		_, _, errno := unix.Syscall(call, a, b, c)
		if errno == unix.EPERM || errno == unix.EACCES || errno == unix.ENOSYS {
			return errno
		}
		return nil
	}
}

func realtime() error {
	var param struct{ priority int32 }
	param.priority = 1
	_, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 2, uintptr(unsafe.Pointer(&param))) // SCHED_RR
	if errno != 0 {
		return errno
	}
	return nil
}

func mapped(protection int) error {
	memory, err := unix.Mmap(-1, 0, 4096, protection, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return unix.Munmap(memory)
}
