// Package version says what a program is and what it was built from.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version and Revision are set when a program is linked:
// -ldflags "-X github.com/taniwha3/thugshells/shared/version.Version=1.2.3".
// The Makefile sets both, as the go command knows no revision where it is told
// not to ask (-buildvcs=false).
var (
	Version  = unstamped
	Revision = ""
)

// unstamped is Version where the linker set none.
const unstamped = "dev"

// Of is Version, or without a stamp what the go command knows of the module.
func Of() string {
	if info, ok := debug.ReadBuildInfo(); Version == unstamped && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return Version
}

// Text is what -version prints: the program and its version, the revision, the
// compiler and the platform, a line each.
func Text(program string) string {
	return fmt.Sprintf("%s %s\nrevision %s\ngo       %s\nplatform %s/%s\n", program, Of(), revision(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH)
}

// revision is what the go command found, or else the stamp.
func revision() string {
	settings := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	found := settings["vcs.revision"]
	switch {
	case found == "" && Revision == "":
		return "not known"
	case found == "":
		return Revision
	case settings["vcs.modified"] == "true":
		found += "-dirty" // as git describe says it
	}
	return found + ", " + settings["vcs.time"]
}
