package tests

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// A panel of a dashboard, as far as it is checked here. The format is Grafana's:
// https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
type panel struct {
	ID          int
	Title, Type string
	Description string
	Interval    string
	Options     struct {
		Legend struct {
			DisplayMode string
			Calcs       []string
		}
	}
	FieldConfig struct {
		Defaults  struct{ Unit string }
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	GridPos   struct{ X, Y, W, H int }
	Collapsed bool
	Panels    []panel // of a row that is collapsed
	Targets   []struct {
		RefID, Expr  string
		Interval     string
		Instant      bool
		LegendFormat string
	}
}

type dashboard struct {
	UID         string
	Annotations struct {
		List []struct{ Name, Expr, Step, IconColor, TitleFormat string }
	}
	Templating struct {
		List []struct {
			Name, Type        string
			Query             json.RawMessage
			Definition        string
			Multi, IncludeAll bool
			AllValue          string
		}
	}
	Panels []panel
}

// all are the panels of a dashboard, those in rows that are collapsed too.
func (d dashboard) all() []panel {
	var all []panel
	for _, p := range d.Panels {
		all = append(append(all, p), p.Panels...)
	}
	return all
}

// folded are the panels in rows that are collapsed: what not every board has.
func (d dashboard) folded() map[int]bool {
	ids := map[int]bool{}
	for _, p := range d.Panels {
		for _, inner := range p.Panels {
			ids[inner.ID] = true
		}
	}
	return ids
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("../docker/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

// rateInterval is what Grafana makes of $__rate_interval: four times the interval
// of scraping, which the data source says is 30 s and a query's own interval may
// say otherwise. (A panel's own interval does not count in all versions.)
func rateInterval(step string) string {
	return map[string]string{"1m": "4m", "5m": "20m"}[step]
}

// A show is what a server holds and what of it the dashboards must show.
type show struct {
	base     string
	from, to time.Time
	boards   []string
	lost     []string // the boards that lost samples
	bare     bool     // the boards are machines without what folded rows show
}

// TestEveryPanelShowsEveryBoard asks a real server, with the made-up recording in
// it, all that the dashboards ask.
func TestEveryPanelShowsEveryBoard(t *testing.T) {
	s := show{base: startVictoria(t), from: recordingFrom, to: recordingTo, boards: recorded, lost: []string{"board-2"}}
	load(t, s.base, recording(t))
	s.check(t)
}

func (s show) check(t *testing.T) {
	t.Helper()
	for file, d := range dashboards(t) {
		vars := s.variables(t, d)
		folded := d.folded()
		for _, p := range d.all() {
			if s.bare && folded[p.ID] {
				continue
			}
			if len(p.Targets) == 0 && p.Type != "row" {
				t.Errorf("%s: panel %q asks for nothing", file, p.Title)
			}
			for _, target := range p.Targets {
				if strings.Contains(target.Expr, "$__rate_interval") && rateInterval(p.Interval) != "" && target.Interval != p.Interval {
					t.Errorf("%s: %s: the query's interval is %q, the panel's %q", file, p.Title, target.Interval, p.Interval)
				}
				devices := []string{""}
				if of := vars["device_id"]; of != nil {
					// A board that is not there has nothing to show: a panel that
					// forgets to name the board would.
					devices = append(of, "nobody")
				}
				for _, device := range devices {
					window := rateInterval(target.Interval)
					if window == "" {
						window = "2m"
					}
					replace := []string{"$device_id", device, "$__rate_interval", window, "$site", ".*"}
					for name, values := range vars {
						if name != "device_id" && name != "site" {
							replace = append(replace, "$"+name, values[0])
						}
					}
					expr := strings.NewReplacer(replace...).Replace(target.Expr)
					if strings.Contains(expr, "$") {
						t.Errorf("%s: %s: an unknown variable is left: %s", file, p.Title, expr)
						continue
					}
					s.ask(t, file+": "+p.Title+" "+target.RefID+": "+device, expr, device, p, target.Instant)
				}
			}
		}
	}
}

// ask asks one query of a panel, about a board or about all.
func (s show) ask(t *testing.T, where, expr, device string, p panel, instant bool) {
	t.Helper()
	step := p.Interval
	if step == "" {
		step = "30s"
	}
	var series []found
	var err error
	if instant {
		series, err = askAt(t.Context(), s.base, expr, s.to)
	} else {
		series, err = askRange(t.Context(), s.base, expr, s.from, s.to, step)
	}
	switch {
	case err != nil:
		t.Errorf("%s: %v\n%s", where, err, expr)
		return
	case device == "nobody":
		if len(series) != 0 {
			t.Errorf("%s: shows other boards\n%s", where, expr)
		}
		return
	case strings.Contains(expr, "ALERTS"):
		return // TestAlertsBootsAndVersionsAreOnTheDashboards has some
	case strings.Contains(expr, "storage_lost_total") && !instant && !slices.Contains(s.lost, device):
		// There is no such series before the first loss.
		if len(series) != 0 {
			t.Errorf("%s: shows losses where there are none\n%s", where, expr)
		}
		return
	}
	length, err := time.ParseDuration(step)
	if err != nil {
		t.Fatal(err)
	}
	s.judge(t, where, expr, p, series, int(s.to.Sub(s.from)/length))
	if p.Type == "table" {
		rows := map[string]int{}
		for _, one := range series {
			rows[one.Metric["device_id"]]++
		}
		for _, device := range s.boards {
			if rows[device] != 1 {
				t.Errorf("%s: %d rows for %s, want 1: the columns would not line up", where, rows[device], device)
			}
		}
	}
}

// judge looks for what a person at the panel would find odd. Steps is how many
// points a graph can have.
func (s show) judge(t *testing.T, where, expr string, p panel, series []found, steps int) {
	t.Helper()
	finite, most := 0, 0
	for _, one := range series {
		points := 0
		for _, v := range one.numbers(t) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			points++
			if p.FieldConfig.Defaults.Unit == "percent" && (v < 0 || v > 100) {
				t.Errorf("%s: %v percent\n%s", where, v, expr)
				return
			}
		}
		finite, most = finite+points, max(most, points)
	}
	if finite == 0 {
		t.Errorf("%s: no data\n%s", where, expr)
	}
	// Losses begin in the middle; values that are sent every ten minutes begin late.
	if p.Type == "timeseries" && 5*most < 2*steps {
		t.Errorf("%s: at most %d points of %d\n%s", where, most, steps, expr)
	}
}

var labelValues = regexp.MustCompile(`^label_values\((\w+)(?:\{site=~"\$site"\})?, (\w+)\)$`)

// variables are the values that each variable of a dashboard can take; those
// that come from the server are asked for.
func (s show) variables(t *testing.T, d dashboard) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "textbox":
			var text string
			if err := json.Unmarshal(v.Query, &text); err != nil {
				t.Fatal(err)
			}
			all[v.Name] = []string{text}
		case "query":
			m := labelValues.FindStringSubmatch(v.Definition)
			var query struct{ Query string }
			if err := json.Unmarshal(v.Query, &query); err != nil || m == nil || query.Query != v.Definition {
				t.Fatalf("%s: variable %s: %s, %s", d.UID, v.Name, v.Definition, v.Query)
			}
			if !v.Multi || !v.IncludeAll || v.AllValue == "" {
				t.Errorf("%s: variable %s cannot be several or all", d.UID, v.Name)
			}
			if v.Name == "site" {
				continue // boards need not have one
			}
			series, err := askAt(t.Context(), s.base, "count by ("+m[2]+") (last_over_time("+m[1]+"[2h]))", s.to)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range series {
				all[v.Name] = append(all[v.Name], one.Metric[m[2]])
			}
			slices.Sort(all[v.Name])
			if !slices.Equal(all[v.Name], s.boards) {
				t.Errorf("%s: variable %s has %q", d.UID, v.Name, all[v.Name])
			}
		case "datasource":
		default:
			t.Errorf("%s: variable %s is of type %s, which this test does not know", d.UID, v.Name, v.Type)
		}
	}
	return all
}

// TestEveryMetricIsOnADashboard: what is collected, sent and paid for can be seen.
func TestEveryMetricIsOnADashboard(t *testing.T) {
	var asked strings.Builder
	for _, d := range dashboards(t) {
		for _, p := range d.all() {
			for _, target := range p.Targets {
				asked.WriteString(target.Expr + "\n")
			}
		}
	}
	for _, e := range metric.Catalog {
		suffixes := []string{""}
		if e.Kind == metric.Histogram {
			suffixes = []string{"_bucket", "_sum", "_count"}
		}
		for _, suffix := range suffixes {
			if name := metric.WireName(e.Name) + suffix; !regexp.MustCompile(`\b` + name + `\b`).MatchString(asked.String()) {
				t.Errorf("no panel shows %s", name)
			}
		}
	}
}

// TestPanelsDoNotOverlap: no two panels lie over each other or share an
// id, and every page a dashboard links to exists.
func TestPanelsDoNotOverlap(t *testing.T) {
	all := dashboards(t)
	uids := map[string]bool{}
	for _, d := range all {
		uids[d.UID] = true
	}
	link := regexp.MustCompile(`"/d/([a-z]+)`)
	for file, d := range all {
		ids := map[int]bool{}
		places(t, file, d.Panels)
		for _, p := range d.all() {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", file, p.ID)
			}
			ids[p.ID] = true
			if p.Collapsed != (len(p.Panels) > 0) {
				t.Errorf("%s: %s: a row is collapsed if and only if panels are in it", file, p.Title)
			}
			// Opened, a row pushes down what follows: its panels share no place
			// with each other.
			places(t, file, p.Panels)
		}
		text, err := os.ReadFile("../docker/grafana/dashboards/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if !uids[m[1]] {
				t.Errorf("%s links to /d/%s, which is no dashboard", file, m[1])
			}
		}
	}
}

func places(t *testing.T, file string, panels []panel) {
	t.Helper()
	cells := map[[2]int]string{}
	for _, p := range panels {
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: %s does not fit into 24 columns: %+v", file, p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken {
					t.Fatalf("%s: %q lies over %q", file, p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// TestLinksAreAllThatBoardsHave: what the dashboards and the rules treat as links
// are wired ports and modems, whatever the kernel and udev call them.
func TestLinksAreAllThatBoardsHave(t *testing.T) {
	for file, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			if v.Name != "links" {
				continue
			}
			var text string
			if err := json.Unmarshal(v.Query, &text); err != nil {
				t.Fatal(err)
			}
			if rules, err := os.ReadFile(rulesPath); err != nil || strings.Count(string(rules), `interface=~"`+text+`"`) != 3 {
				t.Errorf("%s: %s is not what the rules take for links", file, text)
			}
			links := regexp.MustCompile("^(?:" + text + ")$")
			for name, want := range map[string]bool{
				"eth0": true, "enP4p65s0": true, "enP3p49s0": true, "end0": true, "enx0c5b8f279a64": true,
				"wwan0": true, "wwx0c5b8f279a64": true, "wwp1s0u1i4": true, "usb0": true,
				"lo": false, "wlan0": false, "docker0": false, "tailscale0": false, "br-lan": false,
			} {
				if links.MatchString(name) != want {
					t.Errorf("%s: %s matches %s: %v, want %v", file, text, name, !want, want)
				}
			}
		}
	}
}

// TestASilentBoardKeepsItsRow: a board that was last seen two or six days ago is
// in the table, counted as silent, and has its last values.
func TestASilentBoardKeepsItsRow(t *testing.T) {
	base := startVictoria(t)
	var lines []byte
	silent := map[string]float64{"here": 0, "two days": 2 * 24 * 60, "six days": 6 * 24 * 60}
	for board, minutes := range silent {
		for _, c := range []curve{
			of("system.uptime_seconds", perMinute(60)), of("storage.metrics_pending_upload", steady(180)),
			of("cpu.usage_percent", steady(40), "core", "all"),
			of("disk.used_bytes", steady(20e9), "mountpoint", "/"), of("disk.total_bytes", steady(64e9), "mountpoint", "/"),
		} {
			lines = appendCurve(t, lines, board, c, recordingTo.Add(-time.Duration(minutes+180)*time.Minute))
		}
	}
	load(t, base, lines)
	ask := func(expr string) map[string]float64 {
		series, err := askAt(t.Context(), base, strings.ReplaceAll(expr, "$site", ".*"), recordingTo)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, s := range series {
			got[s.Metric["device_id"]] = s.numbers(t)[0]
		}
		return got
	}
	columns := map[string]func(board string) float64{
		"Silent for":   func(board string) float64 { return silent[board] * 60 },
		"Fullest disk": func(string) float64 { return 31.25 },
		"Pending":      func(string) float64 { return 180 },
	}
	asked := 0
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				switch {
				case p.Title == "Silent boards":
					asked++
					if got := ask(target.Expr); got[""] != 2 {
						t.Errorf("%s: %v, want 2", p.Title, got)
					}
				case p.Title == "Silent for":
					for board, minutes := range silent {
						asked++
						if got, there := ask(strings.ReplaceAll(target.Expr, "$device_id", board))[board]; !there || got != 60*minutes {
							t.Errorf("%s: %s: %s: %v, want %v", file, p.Title, board, got, 60*minutes)
						}
					}
				case p.Type == "table" && columns[p.column(target.RefID)] != nil:
					asked++
					rows := ask(target.Expr)
					for board := range silent {
						if got, there := rows[board]; !there || got != columns[p.column(target.RefID)](board) {
							t.Errorf("%s: %s of %s: %v", p.Title, p.column(target.RefID), board, rows)
						}
					}
				}
			}
		}
	}
	if asked != 7 {
		t.Errorf("asked %d queries, want 7", asked)
	}
}

// column is the heading of a table's column.
func (p panel) column(refID string) (heading string) {
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if o.Matcher.Options == "Value #"+refID && property.ID == "displayName" {
				if err := json.Unmarshal(property.Value, &heading); err != nil {
					return ""
				}
			}
		}
	}
	return heading
}

// TestEveryPanelHasADescription: each says what it shows, a line has its last,
// smallest, mean and largest value in the legend, and what another axis would
// need stands on one.
func TestEveryPanelHasADescription(t *testing.T) {
	for file, d := range dashboards(t) {
		for _, p := range d.all() {
			if p.Type == "row" {
				continue
			}
			if p.Description == "" {
				t.Errorf("%s: %s has no description", file, p.Title)
			}
			if p.Type != "timeseries" {
				continue
			}
			if !slices.Equal(p.Options.Legend.Calcs, []string{"lastNotNull", "min", "mean", "max"}) || p.Options.Legend.DisplayMode != "table" {
				t.Errorf("%s: %s: the legend is %v", file, p.Title, p.Options.Legend)
			}
			units := map[string][]string{} // of the left axis
			for _, target := range p.Targets {
				moved := false
				for _, o := range p.FieldConfig.Overrides {
					moved = moved || o.Matcher.ID == "byFrameRefID" && o.Matcher.Options == target.RefID
				}
				unit := ""
				for _, e := range metric.Catalog {
					if regexp.MustCompile(`\b` + metric.WireName(e.Name) + `(_bucket|_sum)?\b`).MatchString(target.Expr) {
						unit = e.Unit
					}
				}
				if strings.Contains(target.Expr, "rate(") && !strings.Contains(target.Expr, "histogram_quantile") && !strings.Contains(target.Expr, "_sum{") {
					unit += " a second"
				}
				if !moved && unit != " a second" { // the count of a histogram is in its own unit
					units[unit] = append(units[unit], target.RefID)
				}
			}
			if len(units) > 1 {
				t.Errorf("%s: %s mixes units on one axis: %v", file, p.Title, units)
			}
		}
	}
}

// TestAlertsBootsAndVersionsAreOnTheDashboards asks a real server for the
// annotations and for the table of alerts.
func TestAlertsBootsAndVersionsAreOnTheDashboards(t *testing.T) {
	base := startVictoria(t)
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var lines []byte
	for board, c := range map[string][]curve{
		"restarted": {
			of("system.uptime_seconds", func(m float64) float64 { return 60 * math.Mod(m+60, 120) }),
			{name: "board.info", tags: []string{"kernel", "6.1", "model", "m", "version", "1.1"}, at: between(0, 90, 1, absent)},
			{name: "board.info", tags: []string{"kernel", "6.1", "model", "m", "version", "1.2"}, at: between(90, 999, 1, absent)},
			{name: "ALERTS", tags: []string{"alertname", "LinkDead", "alertstate", "firing", "severity", "warning"}, at: between(100, 130, 1, absent)},
		},
		"quiet": {
			of("system.uptime_seconds", perMinute(60)),
			{name: "board.info", tags: []string{"kernel", "6.1", "model", "m", "version", "1.2"}, at: steady(1)},
			{name: "ALERTS", tags: []string{"alertname", "LinkDead", "alertstate", "pending", "severity", "warning"}, at: steady(1)},
		},
	} {
		for _, s := range c {
			lines = appendCurve(t, lines, board, s, from)
		}
	}
	load(t, base, lines)
	fill := strings.NewReplacer("$device_id", ".+", "$site", ".*")
	for file, d := range dashboards(t) {
		seen := map[string]bool{}
		for _, a := range d.Annotations.List {
			if a.Name != "Firing alerts" && a.Name != "Boots" && a.Name != "Versions" {
				continue
			}
			seen[a.Name] = true
			series, err := askRange(t.Context(), base, fill.Replace(a.Expr), from.Add(30*time.Minute), from.Add(3*time.Hour), "1m")
			if err != nil {
				t.Errorf("%s: %s: %v", file, a.Name, err)
				continue
			}
			if len(series) != 1 || series[0].Metric["device_id"] != "restarted" {
				t.Errorf("%s: %s marks %v, want the board that restarted and no other", file, a.Name, series)
			}
			for _, label := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(a.TitleFormat, -1) {
				if len(series) == 1 && series[0].Metric[label[1]] == "" {
					t.Errorf("%s: %s has no label %s for its title", file, a.Name, label[1])
				}
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s has the annotations %v, want alerts, boots and versions", file, seen)
		}
		tables := 0
		for _, p := range d.all() {
			if p.Title != "Firing alerts" {
				continue
			}
			tables++
			series, err := askAt(t.Context(), base, fill.Replace(p.Targets[0].Expr), from.Add(2*time.Hour))
			if err != nil || len(series) != 1 || series[0].Metric["alertname"] != "LinkDead" {
				t.Errorf("%s: the table of alerts has %v, %v", file, series, err)
			}
		}
		if tables != 1 {
			t.Errorf("%s has %d tables of alerts", file, tables)
		}
	}
}
