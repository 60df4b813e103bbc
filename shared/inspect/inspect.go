// Package inspect shows a database to people and copies its samples out of it.
// It only reads, and works on the file in use as well as on a copy.
//
// Report prints an overview; Export writes the samples as JSON lines that
// VictoriaMetrics imports.
package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// maxText bounds the text of other programs on a line.
	maxText       = 1000
	shownSessions = 5
	shownFindings = 20
	shownEvents   = 20
)

var states = []struct {
	state store.State
	name  string
}{
	{store.Pending, "pending"},
	{store.Delivered, "delivered"},
	{store.Rejected, "rejected"},
	{store.Held, "held"},
	{store.Local, "local"},
}

// Report prints an overview of the database at path: sizes, samples by state, the
// largest series, ledger, losses, sessions, status and SQLite's check of the file. It
// continues after a part that cannot be read. Sound says that everything could be read,
// that the check passed and that the ledger agrees with the rows.
func Report(ctx context.Context, w io.Writer, path string, top int) (sound bool, err error) {
	r, err := store.OpenReader(ctx, path, store.ReadOptions{Still: true})
	if err != nil {
		return false, err
	}
	defer r.Close()
	p := &printer{w: metric.NewCleanWriter(w), sound: true}
	p.line("database %s", r.Path())
	p.sizes(ctx, r)
	p.samples(ctx, r, top)
	p.sessions(ctx, r)
	p.status(ctx, r)
	p.events(ctx, r)
	p.integrity(ctx, r)
	return p.sound, p.err
}

// A printer prints until a write fails, and remembers problems.
type printer struct {
	w     io.Writer
	sound bool
	err   error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// problem prints an error, if there is one, and remembers it.
func (p *printer) problem(what string, err error) bool {
	if err != nil {
		p.sound = false
		p.line("  %s: %v", what, err)
	}
	return err != nil
}

func (p *printer) sizes(ctx context.Context, r *store.Reader) {
	p.line("\nsizes")
	sizes, err := r.Sizes()
	if p.problem("files", err) {
		return
	}
	p.line("  database           %14d bytes", sizes.Database)
	p.line("  WAL                %14d bytes", sizes.WAL)
	room, err := r.PageUse(ctx)
	if p.problem("pages", err) {
		return
	}
	p.line("  in use             %14d bytes in %d pages of %d", room.Used(), room.Pages-room.FreePages, room.PageSize)
	kept := "kept for the next rows: the file never shrinks"
	if room.Returnable {
		kept = "returned when room is short"
	}
	p.line("  free inside        %14d bytes, %s", room.FreePages*room.PageSize, kept)
}

func (p *printer) samples(ctx context.Context, r *store.Reader, top int) {
	p.line("\nsamples")
	c, err := r.Count(ctx)
	if p.problem("count", err) {
		return
	}
	for _, s := range states {
		span := ""
		if c.ByState[s.state] > 0 {
			span = stamp(c.OldestMs[s.state]) + " to " + stamp(c.NewestMs[s.state])
		}
		p.line("  %-18s %14d  %s", s.name, c.ByState[s.state], span)
	}
	p.line("  %-18s %14d  in %d series", "all", c.Samples, len(c.BySeries))

	p.line("\nledger (since the database was made)")
	l := c.Ledger
	for _, e := range []struct {
		name string
		n    int64
	}{
		{"captured", l.Captured},
		{"= delivered", l.Delivered},
		{"+ pending", l.Pending},
		{"+ held", l.Held},
		{"+ rejected", l.Rejected},
		{"+ local", l.Local},
		{"+ lost", l.Lost},
	} {
		p.line("  %-18s %14d", e.name, e.n)
	}
	for _, loss := range c.Losses {
		p.line("    lost: %-10s %16d  %s to %s", loss.Reason, loss.Count, stamp(loss.FirstMs), stamp(loss.LastMs))
	}
	faults := c.Faults()
	for _, f := range faults {
		p.problem("does not balance", fmt.Errorf("%s", f))
	}
	if len(faults) == 0 {
		p.line("  it balances with the stored rows")
	}
	p.line("  receipts           %14d  last %s", c.Receipts, stamp(c.LastMs))

	p.line("\nseries with the most samples")
	for _, s := range c.BySeries[:min(top, len(c.BySeries))] {
		p.line("  %14d  %s%s  pending %d", s.Samples, s.Series.Name, s.Series.Tags, s.ByState[store.Pending])
	}
	if more := len(c.BySeries) - top; more > 0 {
		p.line("  and %d more; -top shows more", more)
	}
}

func (p *printer) sessions(ctx context.Context, r *store.Reader) {
	p.line("\nsessions, the newest first")
	runs, total, err := r.Sessions(ctx, shownSessions)
	if p.problem("read", err) {
		return
	}
	for _, s := range runs {
		var of struct {
			Version string `json:"version"`
			Kernel  string `json:"kernel"`
		}
		// Metadata of another program is not shown.
		if json.Unmarshal([]byte(s.Metadata), &of) != nil {
			of.Version = "?"
		}
		p.line("  %s  %-9s  %s to %s  version %s", s.ID, s.State, stamp(s.StartMs), stamp(s.EndMs), of.Version)
	}
	p.line("  %d in total", total)
}

func (p *printer) status(ctx context.Context, r *store.Reader) {
	p.line("\nstatus")
	all, err := r.Statuses(ctx)
	if p.problem("read", err) {
		return
	}
	for _, s := range all {
		line := fmt.Sprintf("  %-28s %-8s last success %s", s.Component, s.State, stamp(s.SuccessMs))
		if s.FailingSinceMs != 0 {
			line += fmt.Sprintf("  failing since %s: %s", stamp(s.FailingSinceMs), metric.OneLine(s.Error, maxText))
		}
		p.line("%s", line)
	}
}

func (p *printer) events(ctx context.Context, r *store.Reader) {
	p.line("\nevents, the newest first")
	events, total, err := r.RecentEvents(ctx, shownEvents)
	if p.problem("read", err) {
		return
	}
	for _, e := range events {
		p.line("  %s  %-8s %-17s %s", stamp(e.TimeMs), e.Source, e.Name, metric.OneLine(e.Text, maxText))
	}
	p.line("  %d in total", total)
}

func (p *printer) integrity(ctx context.Context, r *store.Reader) {
	p.line("\nintegrity")
	findings, err := r.QuickCheck(ctx, shownFindings)
	for _, f := range findings {
		p.problem("quick_check", fmt.Errorf("%s", metric.OneLine(f, maxText)))
	}
	if !p.problem("quick_check", err) && len(findings) == 0 {
		p.line("  quick_check: ok")
	}
}

// stamp is a time in UTC.
func stamp(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
