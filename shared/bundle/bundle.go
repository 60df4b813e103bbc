// Package bundle writes one file for finding a fault of a board remotely: its state, its last hours of samples, events and log lines.
//
// The one rule here: nothing that must not leave the board is in it. Every text
// goes through the scrubber; numbers of samples do not need to.
package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/inspect"
	"github.com/taniwha3/thugshells/shared/metric"
)

// window is how much of the past is in a bundle.
const window = 6 * time.Hour

// An Input is what a bundle is made of.
type Input struct {
	Config   config.Config
	Health   []byte   // the status as JSON
	Versions string   // of the programs and of what they run on
	Secrets  []string // known ones, which must not be in it
	Journals []string // directories of systemd's journal
	Now      time.Time
}

// A part is one file of a bundle. One that cannot be made is named in the list.
type part struct {
	name, what string
	write      func(ctx context.Context, path string) error
}

// Write writes a bundle, compressed, to w. Its parts are made in a directory of
// their own first.
func Write(ctx context.Context, w io.Writer, in Input) (err error) {
	dir, err := os.MkdirTemp("", "metrics-bundle-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := newScrubber(in.Secrets)
	var list strings.Builder
	fmt.Fprintf(&list, "Support bundle of %s, %s\n\nSecrets, stream ids and the numbers of devices and SIM cards are replaced by %s.\n"+
		"On any machine: metrics-collector -inspect -database metrics.db; metrics-collector -export -database metrics.db\n\n",
		in.Config.Device.ID, in.Now.UTC().Format(time.RFC3339), removed)
	var made []string
	for _, p := range in.parts(s) {
		path := filepath.Join(dir, p.name)
		if err := p.write(ctx, path); err != nil {
			fmt.Fprintf(&list, "%-16s missing: %s\n", p.name, s.text(err.Error()))
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%-16s %9d bytes  %s\n", p.name, info.Size(), p.what)
		made = append(made, path)
	}
	path := filepath.Join(dir, "LIST.txt")
	if err := writeText(path, list.String()); err != nil {
		return err
	}
	return pack(w, append([]string{path}, made...), in.Now)
}

// writeText writes one file of the bundle, without control characters.
func writeText(path, text string) error {
	return os.WriteFile(path, []byte(metric.Clean(text)), 0o600)
}

func (in Input) parts(s scrubber) []part {
	text := func(make func() (string, error)) func(context.Context, string) error {
		return func(_ context.Context, path string) error {
			t, err := make()
			if err != nil {
				return err
			}
			return writeText(path, s.text(t))
		}
	}
	return []part{
		{"health.json", "the status and its reasons", func(_ context.Context, path string) error {
			return writeText(path, s.json(string(in.Health)))
		}},
		{"versions.txt", "programs, kernel, machine", text(func() (string, error) { return in.Versions, nil })},
		{"config.yaml", "the configuration as it is in effect, every key", text(func() (string, error) {
			t, err := yaml.Marshal(in.Config)
			return string(t), err
		})},
		{"state.json", "ledger, losses, sessions, events, status rows, sizes", in.state(s)},
		{"metrics.db", "an excerpt of the database: samples, events and status rows of the last " + window.String(), in.excerpt(s)},
		{"samples.jsonl", "the same samples as lines for /api/v1/import", func(ctx context.Context, path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			_, err = inspect.Export(ctx, f, filepath.Join(filepath.Dir(path), "metrics.db"), in.Now.Add(-window).UnixMilli())
			return errors.Join(err, f.Close())
		}},
		{"inspect.txt", "what metrics-collector -inspect says of the database", func(ctx context.Context, path string) error {
			var b strings.Builder
			_, err := inspect.Report(ctx, &b, in.Config.Storage.Path, 20)
			return errors.Join(err, writeText(path, s.text(b.String())))
		}},
		{"log.txt", fmt.Sprintf("the last lines of the daemons, up to %d", maxLines), text(func() (string, error) { return in.log() })},
	}
}

// pack writes files as a compressed archive.
func pack(w io.Writer, paths []string, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, path := range paths {
		if err := add(t, path, at); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func add(t *tar.Writer, path string, at time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: "metrics-bundle/" + filepath.Base(path), Mode: 0o600, Size: info.Size(), ModTime: at, Typeflag: tar.TypeReg}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
