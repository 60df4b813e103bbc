//go:build !linux

package hostfs

import "time"

// BootTime fails: only Linux is read.
func BootTime() (time.Duration, error) { return 0, ErrNoSource }

// MonotonicTime fails: only Linux is read.
func MonotonicTime() (time.Duration, error) { return 0, ErrNoSource }

// ClockSynchronised fails: only Linux is read.
func ClockSynchronised() (bool, error) { return false, ErrNoSource }

// Filesystem fails: only Linux is read.
func Filesystem(string) (Space, error) { return Space{}, ErrNoSource }

// FreeBytes fails: only Linux is read.
func FreeBytes(string) (int64, error) { return 0, ErrNoSource }

// Self fails: only Linux is read.
func Self() (SelfUse, error) { return SelfUse{ResidentBytes: -1, WrittenBytes: -1}, ErrNoSource }
