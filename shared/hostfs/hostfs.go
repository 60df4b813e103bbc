// Package hostfs finds and reads the kernel's pseudo files. Start at Roots, which has the
// paths of /proc and /sys; ReadFile reads a
// table of /proc, ReadValue one attribute of /sys.
//
// The one rule here: reading never waits. A file without data is an error at
// once, and the caller continues with the next file.
package hostfs

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
)

// ErrNoSource says that this system does not have the value.
var ErrNoSource = errors.New("no such source")

// ErrNoBlocks says that a filesystem has no blocks of its own, as proc, cgroup
// and some filesystems in memory.
var ErrNoBlocks = errors.New("a filesystem without blocks")

// Roots are the directories in which procfs and sysfs are mounted, usually
// /proc and /sys; elsewhere for a captured board or a container.
type Roots struct {
	Proc, Sys string
}

// ProcPath returns the path of a file below the root of procfs.
func (r Roots) ProcPath(elem ...string) string {
	return filepath.Join(append([]string{r.Proc}, elem...)...)
}

// SysPath returns the path of a file below the root of sysfs.
func (r Roots) SysPath(elem ...string) string {
	return filepath.Join(append([]string{r.Sys}, elem...)...)
}

// BootID returns the random UUID that the kernel made at this boot.
// Source: /proc/sys/kernel/random/boot_id, random(4).
func (r Roots) BootID() (string, error) {
	return ReadValue(r.ProcPath("sys", "kernel", "random", "boot_id"))
}

// KernelRelease returns what uname -r prints.
// Source: /proc/sys/kernel/osrelease, proc_sys_kernel(5).
func (r Roots) KernelRelease() (string, error) {
	return ReadValue(r.ProcPath("sys", "kernel", "osrelease"))
}

// BoardModel returns the board's name from the device tree, as in "Xunlong
// Orange Pi 5 Plus". Machines without a device tree have none: the error is
// then an fs.ErrNotExist.
// Source: /proc/device-tree/model, one NUL-terminated string (Devicetree
// Specification, 2.3.2).
func (r Roots) BoardModel() (string, error) {
	data, err := ReadFile(r.ProcPath("device-tree", "model"))
	if err != nil {
		return "", err
	}
	data, _, _ = bytes.Cut(data, []byte{0})
	return strings.ToValidUTF8(strings.TrimSpace(string(data)), "\uFFFD"), nil
}

// SelfUse is what this process has used since it started.
type SelfUse struct {
	CPUSeconds    float64 // user and system
	ResidentBytes int64   // now; -1 when it could not be read
	WrittenBytes  int64   // handed to the block layer, caches left out; -1 when it could not be read
}

// Space is the room of one mounted filesystem, in bytes.
type Space struct {
	Total     uint64
	Free      uint64 // for root
	Available uint64 // for everybody else
}

// Identity returns the identity of this machine and boot: boot_id, kernel and board, as far
// as they can be read.
func (r Roots) Identity() map[string]string {
	id := map[string]string{}
	for key, read := range map[string]func() (string, error){
		"boot_id": r.BootID, "kernel": r.KernelRelease, "board": r.BoardModel,
	} {
		if text, err := read(); err == nil && text != "" {
			id[key] = text
		}
	}
	return id
}
