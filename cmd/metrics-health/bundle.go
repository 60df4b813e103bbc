package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/bundle"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
	"github.com/taniwha3/thugshells/shared/secretfile"
	"github.com/taniwha3/thugshells/shared/version"
)

// writeBundle writes a support bundle to a new file, which is for its user alone.
func writeBundle(ctx context.Context, p *daemon.Process, path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	watch := watchOf(p)
	defer func() { err = errors.Join(err, watch.Close()) }()
	r := watch.Once(ctx)
	r.Version, r.DeviceID = p.Version, p.Config.Device.ID
	if denied(p.Config, r) {
		return errors.New(deniedText(p.Config))
	}
	err = bundle.Write(ctx, f, bundle.Input{
		Config: p.Config, Health: r.JSON(), Versions: versions(p), Secrets: secrets(p), Now: time.Now(),
		Journals: journal.Here(),
	})
	if err == nil {
		_, err = fmt.Fprintf(p.Stdout, "wrote %s; LIST.txt in it lists its contents\n", path)
	}
	return err
}

// versions describes the program and what it runs on.
func versions(p *daemon.Process) string {
	var text strings.Builder
	text.WriteString(version.Text(p.Name))
	for key, value := range (hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}).Identity() {
		fmt.Fprintf(&text, "%s %s\n", key, value)
	}
	return text.String()
}

// secrets are the secrets that this user can read, which are removed from all texts.
func secrets(p *daemon.Process) (known []string) {
	to, err := url.Parse(p.Config.Remote.URL)
	if err != nil {
		return nil
	}
	source, err := secretfile.Find(p.Config.Remote, to, os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil && source.Path == "" {
		return nil
	}
	for _, path := range []string{source.Path, "/etc/belabox-metrics/token", "/etc/belabox-metrics/password"} {
		if text, err := hostfs.ReadRegular(path, 1<<16); err == nil {
			known = append(known, string(trim(text)))
		}
	}
	return known
}

// trim removes the end of the line.
func trim(text []byte) []byte {
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	return text
}
