package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/taniwha3/thugshells/shared/config"
)

// configFault returns what is wrong with the configuration file at path now, as
// a daemon would find it that starts now; "" for nothing. The file is read again
// only when it was changed.
func configFault(path string) func() string {
	optional := path == ""
	path = cmp.Or(path, config.DefaultPath)
	var mu sync.Mutex
	var seen os.FileInfo
	fault := ""
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		info, err := os.Stat(path)
		switch {
		case err != nil && optional && errors.Is(err, fs.ErrNotExist):
			seen = nil
			return ""
		case err != nil:
			seen = nil
			return err.Error()
		case seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) && seen.Size() == info.Size():
			return fault
		}
		seen, fault = info, ""
		if _, err := config.Load(path); err != nil {
			first, rest, _ := strings.Cut(err.Error(), "\n")
			if fault = first; rest != "" {
				fault += fmt.Sprintf(", and %d more", strings.Count(strings.TrimSuffix(rest, "\n"), "\n")+1)
			}
		}
		return fault
	}
}
