package health

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// Text writes a report for a terminal, in colour if asked.
func Text(w io.Writer, r Report, colour bool) error {
	p := printer{colour: colour}
	p.line("%s  %s  %s", p.paint(r.Status, strings.ToUpper(string(r.Status))), r.DeviceID, r.Timestamp)
	for _, reason := range r.Reasons {
		p.line("  %s %s  %s", p.paint(reason.Severity, "●"), reason.Code, reason.Message)
		p.line("    %s, since %s. %s", reason.Component, reason.Since, sentence(reason.Hint))
	}
	if len(r.Daemons) > 0 {
		p.line("\n%-20s %-10s %8s %12s  %s", "DAEMON", "STATE", "PID", "HEARTBEAT", "VERSION")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Daemons)) {
		d := r.Daemons[name]
		p.line("%-20s %s %8s %12s  %s", name, p.cell(d.Status, string(d.State), 10),
			orDash(d.PID != 0, fmt.Sprint(d.PID)), ago(d.HeartbeatSeconds), orDash(d.Version != "", clean(d.Version)))
	}
	if len(r.Collectors) > 0 {
		p.line("\n%-20s %-10s %8s %12s  %s", "COLLECTOR", "STATUS", "FAILED", "HEARTBEAT", "SAMPLES")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Collectors)) {
		c := r.Collectors[name]
		p.line("%-20s %s %8d %12s  %d", clean(name), p.cell(c.Status, string(c.Status), 10), c.Failed,
			ago(c.HeartbeatSeconds), c.MetricsCollected)
	}
	p.errors(r)
	u, s := r.Uploader, r.Storage
	p.line("")
	p.line("uploads   %s, last %s, %d delivered, %d failed attempts", p.paint(u.Status, string(u.Status)),
		cmp.Or(u.LastUpload, "never"), u.MetricsUploaded, u.UploadFailures)
	if u.BytesPerDay > 0 {
		p.line("traffic   %s of %s today", bytesText(u.BytesToday), bytesText(u.BytesPerDay))
	}
	p.line("samples   %d captured, %d pending, %d held, %d rejected, %d local, %d lost", s.Captured,
		s.MetricsPendingUpload, s.Held, s.Rejected, s.Local, s.Lost)
	p.line("database  %s, WAL %s, oldest sample %s", bytesText(s.DatabaseSizeBytes), bytesText(s.WALSizeBytes),
		cmp.Or(s.OldestMetricTimestamp, "none"))
	skew := "not measured"
	if r.Time.SkewMs != nil {
		skew = fmt.Sprintf("%+.0f ms to the server", *r.Time.SkewMs)
		if r.Time.SkewErrorMs != nil {
			skew += fmt.Sprintf(", ± %.0f", *r.Time.SkewErrorMs)
		}
	}
	if r.Time.Trusted != nil && !*r.Time.Trusted {
		skew += ", not trusted"
	}
	p.line("clock     %s", skew)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// Line writes a report as one line, for a prompt or a message of the day: the status, and
// the reasons, the worst first.
func Line(w io.Writer, r Report) error {
	var p printer
	var wrong []string
	for i, reason := range r.Reasons {
		wrong = append(wrong, string(reason.Code))
		if i == 0 {
			wrong[0] += " (" + strings.ReplaceAll(reason.Message, "\n", "; ") + ")"
		}
	}
	if len(wrong) == 0 {
		p.line("%s", string(r.Status))
	} else {
		p.line("%s: %s", string(r.Status), strings.Join(wrong, ", "))
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

// errors writes one line for each part that ever failed, with when and how.
func (p *printer) errors(r Report) {
	head := "\n%-20s %-22s %s"
	line := func(name string, f Facts) {
		if f.LastError == nil {
			return
		}
		if head != "" {
			p.line(head, "LAST ERROR", "AT", "MESSAGE")
			head = ""
		}
		p.line("%-20s %-22s %s", clean(name), f.LastErrorAt, strings.ReplaceAll(*f.LastError, "\n", "; "))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Daemons)) {
		line(name, r.Daemons[name].Facts)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Collectors)) {
		line(name, r.Collectors[name].Facts)
	}
}

// sentence begins a hint with a capital letter, unless that is a command's.
func sentence(hint string) string {
	switch {
	case hint == "":
		return ""
	case strings.HasPrefix(hint, "metrics-"), strings.HasPrefix(hint, "journalctl "):
		return hint + "."
	}
	return strings.ToUpper(hint[:1]) + hint[1:] + "."
}

type printer struct {
	b      strings.Builder
	colour bool
}

// line writes one line. Text from the database may hold control characters, which a
// terminal would obey.
func (p *printer) line(format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = clean(s)
		}
	}
	for l := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		p.b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
}

// A painted text is already clean.
type painted string

// paint colours a text by the status it stands for.
func (p *printer) paint(s Status, text string) painted {
	code := map[Status]string{StatusOK: "32", StatusDegraded: "33", StatusError: "31"}[s]
	if !p.colour || code == "" {
		return painted(clean(text))
	}
	return painted("\x1b[1;" + code + "m" + clean(text) + "\x1b[0m")
}

// cell is paint to at least a width.
func (p *printer) cell(s Status, text string, width int) painted {
	return p.paint(s, text) + painted(strings.Repeat(" ", max(0, width-len(text))))
}

// clean makes text from outside one line without control characters.
func clean(s string) string { return metric.OneLine(s, 4096) }

func orDash(is bool, text string) string {
	if is {
		return text
	}
	return "-"
}

func ago(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return human(time.Duration(*seconds*float64(time.Second))) + " ago"
}

// bytesText writes a size as people say it.
func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// Colour says whether w is a terminal, and colours are not switched off
// (https://no-color.org).
func Colour(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
