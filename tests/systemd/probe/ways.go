package main

import (
	"os"
	"syscall"

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
