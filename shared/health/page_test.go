package health

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/taniwha3/thugshells/shared/metric"
)

const textOf = `document.querySelector(%q).innerText`

// open serves the board, opens its page in a browser and waits for its charts.
func open(t *testing.T, b *board, charts int) (ctx context.Context, heard *listening, base string) {
	t.Helper()
	ctx = browser(t)
	base = b.serve(t)
	heard = listen(ctx, t)
	mustDo(ctx, t, chromedp.EmulateViewport(1480, 900), chromedp.Navigate(base+"/"))
	mustBecome(ctx, t, heard, fmt.Sprintf(`document.querySelectorAll(".card canvas").length >= %d`, charts))
	return ctx, heard, base
}

var dayCharts = []string{
	"links", "temperature", "cpu", "memory", "load", "net eth0", "net usb0", "net wwan0", "net wwan1", "backlog", "delivery",
	"traffic", "disk mmcblk0", "space /", "space /data",
}

func TestThePageShowsTheBoardInARealBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	b := newBoard(t)
	b.fill(t, day(time.Now(), 1.2)...)
	ctx, heard, base := open(t, b, len(dayCharts))
	if got := mustAsk[[]string](ctx, t, `[...document.querySelectorAll(".card")].map(c => c.dataset.chart)`); !slices.Equal(got, dayCharts) {
		t.Errorf("charts %q", got)
	}
	if status, device := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#status")), mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#device")); status != "ok" || device != "board-1" {
		t.Errorf("status %q, device %q", status, device)
	}
	drawn := mustAsk[int](ctx, t, `[...document.querySelectorAll(".card canvas")].filter(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v)).length`)
	if drawn != len(dayCharts) {
		t.Errorf("%d of %d charts are drawn", drawn, len(dayCharts))
	}
	if headline := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#headline")); !strings.Contains(headline, "Mbit/s over 4 links") {
		t.Errorf("headline %q", headline)
	}
	if label := mustAsk[string](ctx, t, `document.querySelector("[data-chart=links] .plot").getAttribute("aria-label")`); !strings.Contains(label, "wwan0") || !strings.Contains(label, "bit/s") {
		t.Errorf("the chart is described as %q", label)
	}

	// A reason is on the page within one round, and the charts stay.
	b.mu.Lock()
	b.locks[shipper] = Lock{}
	b.mu.Unlock()
	mustBecome(ctx, t, heard, `document.querySelector("#status.degraded")`)
	if reason := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#reasons li")); !strings.Contains(reason, "shipper_crashed") {
		t.Errorf("reason %q", reason)
	}
	for _, name := range []string{"24h", "6h", "15m", "7d", "1h"} {
		turns := mustAsk[int](ctx, t, `Number(document.body.dataset.charts)`)
		mustDo(ctx, t, chromedp.Click(chromedp.CSS(`#ranges button[data-range="`+name+`"]`)))
		mustBecome(ctx, t, heard, fmt.Sprintf(`Number(document.body.dataset.charts) > %d && document.querySelectorAll(".card").length === %d`, turns, len(dayCharts)))
		if search := mustAsk[string](ctx, t, `location.search`); (name == "1h") != (search == "") || name != "1h" && search != "?range="+name {
			t.Errorf("the address says %q for %s", search, name)
		}
	}
	heard.complain(t, base)
}

// complain reports what the browser found wrong, and requests to another host.
func (heard *listening) complain(t *testing.T, base string) {
	t.Helper()
	heard.mu.Lock()
	defer heard.mu.Unlock()
	for _, e := range heard.errors {
		t.Errorf("the browser complains: %s", e)
	}
	if len(heard.requests) < 6 {
		t.Errorf("only %d requests were seen", len(heard.requests))
	}
	for _, r := range heard.requests {
		if at, err := url.Parse(r); err != nil || "http://"+at.Host != base {
			t.Errorf("a request left the host: %s", r)
		}
	}
}

func TestLinesSumsAndSpreadsAreThoseOfTheSamples(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := newBoard(t)
	b.fill(t)
	ctx, _, _ := open(t, b, 1)
	for _, c := range []struct{ name, expression, want string }{
		{"an outage is a gap", `Series.lines([{t: [0, 10, 20, 320, 330].map(s => s * 1000), avg: [1, 2, 3, 4, 5], factor: 2}], 10000)`, `[[0,10,20,30,320,330],[2,4,6,null,8,10]]`},
		{"a stack adds up from the last line", `Series.stack([[0, 1, 2], [1, null, null], [2, 3, null]])`, `[[0,1,2],[3,3,null],[2,3,null]]`},
		{"a stack without its last line stands on the ground", `Series.stack([[0, 1], [1, 5], [2, null]])`, `[[0,1],[3,5],[2,0]]`},
		{"a failed question is said where points are shown", `[1, 0].map(n => { const b = Object.create(Board.prototype), store = new Series.Store(); if (n) store.series.set("a", {t: [1]}); return Object.assign(b, {store, fault: "too many"}).note(); })`, `["The charts are not current: too many.",""]`},
		{"cores have a spread", `Series.spread([{t: [1, 2], avg: [10, 20]}, {t: [1], avg: [30]}]).map(s => [s.label, s.avg])`, `[["busiest core",[30,20]],["mean of the cores",[20,20]],["idlest core",[10,20]]]`},
		{"a recent value is current", `Series.latest({t: [0, 30e3], avg: [1, 2]}, 30e3, 90e3)`, `{"value":2,"age":null}`},
		{"an old value has its age", `Series.latest({t: [0, 30e3], avg: [1, 2]}, 30e3, 330e3)`, `{"value":2,"age":300}`},
		{"an age has one unit", `[Units.age(60), Units.age(200), Units.age(7300), Units.age(259200)]`, `["60 s ago","3 min ago","2 h ago","3 d ago"]`},
		{"runs of steps become times", `(() => { const s = new Series.Store(); s.add({since_ms: 1000, until_ms: 9000, step_ms: 1000, series: [{name: "a", tags: {}, steps: [0, 2, 5, 1], avg: [7, 8, 9]}]}, 0); return [...s.series.values()][0].t; })()`, `[1000,2000,6000]`},
		{"an answer replaces the step that was not over", `(() => { const s = new Series.Store(), one = (since, steps, avg) => s.add({since_ms: since, until_ms: 0, step_ms: 1000, series: [{name: "a", tags: {}, steps, avg}]}, 2000); one(1000, [0, 3], [1, 2, 3]); one(3000, [0, 2], [4, 5]); const {t, avg} = [...s.series.values()][0]; return [t, avg]; })()`, `[[2000,3000,4000],[2,4,5]]`},
		{"layered links are not counted again", `["eth0", "wwan0", "usb0", "bond0", "eth0.7", "br0", "wg0", "tun0", "docker0"].filter(i => Catalogue.isLink({name: "network.tx_bytes_total", tags: {interface: i}}))`, `["eth0","wwan0","usb0"]`},
	} {
		if got := mustAsk[string](ctx, t, "JSON.stringify("+c.expression+")"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAnOutdatedValueIsShownWithItsAge(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := newBoard(t)
	var old []metric.Sample
	for _, s := range day(time.Now(), 1.2) {
		if time.Since(time.UnixMilli(s.TimeMs)) > 8*time.Minute {
			old = append(old, s)
		}
	}
	b.fill(t, old...)
	ctx, heard, _ := open(t, b, len(dayCharts))
	legend := mustAsk[string](ctx, t, `document.querySelector("[data-chart=memory] .legend .old").innerText`)
	if !strings.Contains(legend, "min ago") {
		t.Errorf("an old value is shown as %q", legend)
	}
	if headline := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#headline")); strings.Contains(headline, "bit/s") {
		t.Errorf("old values make the headline %q", headline)
	}
	mustBecome(ctx, t, heard, `!document.querySelector("[data-chart=load] .legend .old")`) // the board's last sample is of now
}

func TestTheRangeStartsWithTheFirstSampleAndDraggingZooms(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := newBoard(t)
	now := time.Now()
	b.fill(t, day(now, 0.5)...)
	ctx, heard, _ := open(t, b, len(dayCharts))
	box := mustAsk[[]float64](ctx, t, `(() => { const r = document.querySelector("[data-chart=cpu] .u-over").getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`)
	drag(ctx, t, box[0]+box[2]*0.25, box[0]+box[2]*0.5, box[1]+box[3]/2)
	mustBecome(ctx, t, heard, `new URLSearchParams(location.search).has("from") && !document.querySelector("#zoom-out").hidden`)
	span := mustAsk[[]float64](ctx, t, `["from", "until"].map(k => Number(new URLSearchParams(location.search).get(k)))`)
	// A quarter of half an hour, in whole steps: the range began with the first sample.
	if got := (span[1] - span[0]) / 60e3; got < 7 || got > 9 {
		t.Errorf("a quarter of the range is %.1f minutes, want about 7.5", got)
	}
	if first := now.Add(-30 * time.Minute).UnixMilli(); span[0] < float64(first) {
		t.Errorf("the zoom begins %v, before the first sample", time.UnixMilli(int64(span[0])))
	}
	mustDo(ctx, t, chromedp.Click(chromedp.CSS("#zoom-out")))
	mustBecome(ctx, t, heard, `location.search === "" && document.querySelector("#zoom-out").hidden`)

	// A shared address opens the same range.
	mustDo(ctx, t, chromedp.Navigate(mustAsk[string](ctx, t, "location.origin")+fmt.Sprintf("/?from=%.0f&until=%.0f&range=6h", span[0], span[1])))
	mustBecome(ctx, t, heard, `!document.querySelector("#zoom-out").hidden && document.querySelectorAll(".card canvas").length > 5`)
}

// drag presses the mouse at x0, moves it to x1 and releases it.
func drag(ctx context.Context, t *testing.T, x0, x1, y float64) {
	t.Helper()
	for _, e := range []input.DispatchMouseEventParams{
		{Type: input.DispatchMouseEventTypeMouseMoved, X: x0, Y: y},
		{Type: input.DispatchMouseEventTypeMousePressed, X: x0, Y: y, Button: input.MouseButtonLeft, ClickCount: 1},
		{Type: input.DispatchMouseEventTypeMouseMoved, X: (x0 + x1) / 2, Y: y, Button: input.MouseButtonLeft},
		{Type: input.DispatchMouseEventTypeMouseMoved, X: x1, Y: y, Button: input.MouseButtonLeft},
		{Type: input.DispatchMouseEventTypeMouseReleased, X: x1, Y: y, Button: input.MouseButtonLeft, ClickCount: 1},
	} {
		if _, err := chromedp.Call(ctx, input.DispatchMouseEvent, e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThePageReportsAMissingDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	ctx := browser(t)
	b := newBoard(t)
	base := b.serve(t)
	heard := listen(ctx, t)
	mustDo(ctx, t, chromedp.Navigate(base+"/"))
	mustBecome(ctx, t, heard, `document.querySelector("#status.error")`)
	if reason := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#reasons li")); !strings.Contains(reason, "there is no database") {
		t.Errorf("reason %q", reason)
	}
	mustBecome(ctx, t, heard, `document.body.dataset.charts`) // and they have no points
	if !mustAsk[bool](ctx, t, `document.querySelector("#lost").hidden && document.querySelector("#note").hidden`) {
		t.Error("the page says that it is not answered")
	}
	b.fill(t)
	mustBecome(ctx, t, heard, `document.querySelector("#status.ok") && !document.querySelector("#reasons li")`)
}

// A week of a million readings is too much to read whole: the page says so while it
// shows the week, and not of the range of an hour.
func TestThePageReportsThatARangeWasNotReadCompletely(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := newBoard(t)
	b.fill(t, metric.Sample{Name: "cpu.temperature", TimeMs: time.Now().UnixMilli(), Value: 50})
	mustSQL(t, b.path, `INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, uploaded)
		WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 1200000)
		SELECT (SELECT max(timestamp_ms) FROM samples) - n * 500, (SELECT id FROM series WHERE metric_name = 'cpu.temperature'), 50 + n % 7, 1 FROM i`)
	ctx, heard, _ := open(t, b, 1)
	if hidden := mustAsk[bool](ctx, t, `document.querySelector("#note").hidden`); !hidden {
		t.Error("the page says of an hour that it is not read whole")
	}
	mustDo(ctx, t, chromedp.Click(chromedp.CSS(`#ranges button[data-range="7d"]`)))
	mustBecome(ctx, t, heard, `!document.querySelector("#note").hidden`)
	note := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#note"))
	var minutes, seconds int
	if _, err := fmt.Sscanf(note, "Each point shows the first %d min %d s of 1 h 10 min:", &minutes, &seconds); err != nil || minutes < 2 || minutes > 60 {
		t.Errorf("%q, %v", note, err)
	}
	mustDo(ctx, t, chromedp.Click(chromedp.CSS(`#ranges button[data-range="1h"]`)))
	mustBecome(ctx, t, heard, `document.querySelector("#note").hidden`)
}
