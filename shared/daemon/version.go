package daemon

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// unstamped is Version where the linker set none.
const unstamped = "dev"

// version is Version, or without a stamp what the go command knows of the module.
func version() string {
	if info, ok := debug.ReadBuildInfo(); Version == unstamped && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return Version
}

// printVersion prints what the program is and what it was built from.
func printVersion(w io.Writer, name string) {
	revision := "not known"
	if info, ok := debug.ReadBuildInfo(); ok {
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["vcs.revision"] != "" {
			revision = settings["vcs.revision"]
		}
		if settings["vcs.modified"] == "true" {
			revision += ", modified"
		}
		if settings["vcs.time"] != "" {
			revision += ", " + settings["vcs.time"]
		}
	}
	fmt.Fprintf(w, "%s %s\nrevision %s\ngo       %s\nplatform %s/%s\n", name, version(), revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
