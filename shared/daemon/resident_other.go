//go:build !linux

package daemon

func unmapUnused() error { return nil }
