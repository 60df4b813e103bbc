package hostfs

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links in a row are followed, as the kernel does.
const maxLinks = 40

// Resolve returns a path without symbolic links, as far as it is there: where a
// file of this name would be made.
func Resolve(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for range maxLinks {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(path)
		// A link whose target is not there yet: a file would be made at the target.
		if target, err := os.Readlink(path); err == nil {
			if !filepath.IsAbs(target) {
				target = filepath.Join(Resolve(parent), target)
			}
			path = target
			continue
		}
		if parent == path {
			break
		}
		path, rest = parent, filepath.Join(filepath.Base(path), rest)
	}
	return filepath.Join(path, rest)
}

// BelowKernel says whether a path leads into a filesystem of the kernel, where a file would
// be memory, a device or nothing. It follows no links: see Resolve.
func BelowKernel(path string) bool {
	path = filepath.Clean(path) + "/"
	for _, root := range []string{"/dev/", "/proc/", "/sys/"} {
		if strings.HasPrefix(path, root) {
			return true
		}
	}
	return false
}
