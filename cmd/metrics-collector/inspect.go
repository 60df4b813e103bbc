package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/inspect"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// A view is the flags of -inspect and -export.
type view struct {
	file  string
	since string
	top   int
}

func (v *view) flags(fs *flag.FlagSet) {
	fs.StringVar(&v.file, "database", "", "inspect or export `FILE`, such as a copy, instead of storage.path")
	fs.IntVar(&v.top, "top", 20, "with -inspect: how many series to show")
	fs.StringVar(&v.since, "since", "", "export from `TIME` on: 2026-01-31T12:00:00Z, or 24h for the last day")
}

func (v *view) commands() []daemon.Command {
	return []daemon.Command{
		{Flag: "inspect", Help: "print what is in the database; 1 if something in it is wrong", Run: v.inspect},
		{Flag: "export", Help: "print the samples as JSON lines that VictoriaMetrics imports", Run: v.export},
	}
}

func (v *view) path(p *daemon.Process) string {
	if v.file != "" {
		return v.file
	}
	return p.Config.Storage.Path
}

func (v *view) inspect(ctx context.Context, p *daemon.Process) (exit int, err error) {
	sound, err := inspect.Report(ctx, p.Stdout, v.path(p), max(0, v.top))
	if err != nil || !sound {
		return 1, err
	}
	return 0, nil
}

func (v *view) export(ctx context.Context, p *daemon.Process) (exit int, err error) {
	since, err := inspect.Since(v.since, time.Now())
	if err != nil {
		return 2, fmt.Errorf("-since: %w", err)
	}
	var labels []vmjson.Label
	if v.file == "" { // a copy may be another board's
		labels = append(labels, vmjson.Label{Name: "site", Value: p.Config.Device.Site})
	}
	out, err := inspect.Export(ctx, p.Stdout, v.path(p), since, labels...)
	p.Log.Info("exported", "samples", out.Samples, "lines", out.Lines, "held_left_out", out.Held, "refused_left_out", out.Refused)
	if err != nil {
		return 1, err
	}
	return 0, nil
}
