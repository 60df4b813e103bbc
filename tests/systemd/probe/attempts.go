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
