package health

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// What the page may send over the uplink that the stream uses: response bytes
// with their headers, as the server writes them.
const (
	firstLoadBudget = 60_000
	minuteBudget    = 10_000
)

func TestThePageIsCheapOverAMeteredLink(t *testing.T) {
	if testing.Short() {
		t.Skip("looks at the page for a minute")
	}
	t.Parallel()
	b := newBoard(t)
	now := time.Now()
	b.fill(t, day(now, 1.2)...)
	mustSQL(t, b.path, fmt.Sprintf(`INSERT INTO sessions (id, start_time, status) VALUES ('a', %d, 'active')`, now.Add(-time.Hour).UnixMilli()))
	ctx, heard, _ := open(t, b, len(dayCharts))
	mustBecome(ctx, t, heard, `document.querySelector("#status.ok") && document.querySelector("#facts dt") && document.querySelector("#events li")`)
	first := b.sent.Load()
	t.Logf("first load: %d bytes", first)
	if first > firstLoadBudget {
		t.Errorf("the first load costs %d bytes, want at most %d", first, firstLoadBudget)
	}

	// A minute of looking, while the collector stores a round every ten seconds.
	for range 6 {
		time.Sleep(10 * time.Second)
		b.add(t, day(time.Now(), 0.003)...)
	}
	minute := b.sent.Load() - first
	t.Logf("a minute at 1 h: %d bytes", minute)
	if minute > minuteBudget {
		t.Errorf("a minute costs %d bytes, want at most %d", minute, minuteBudget)
	}
	if turns := mustAsk[int](ctx, t, `Number(document.body.dataset.charts)`); turns < 2 {
		t.Errorf("the charts were drawn %d times in a minute", turns)
	}

	// A hidden page asks for nothing, and at once when it is shown again.
	mustAsk[bool](ctx, t, `Object.defineProperty(document, "hidden", {value: true, configurable: true}) && document.dispatchEvent(new Event("visibilitychange"))`)
	time.Sleep(time.Second) // for what is on its way
	before := b.sent.Load()
	time.Sleep(25 * time.Second)
	if hidden := b.sent.Load() - before; hidden != 0 {
		t.Errorf("a hidden page costs %d bytes in 25 s", hidden)
	}
	mustAsk[bool](ctx, t, `delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	for until := time.Now().Add(10 * time.Second); b.sent.Load() == before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the page asks for nothing after it was shown again")
		}
	}
}

func TestFilesOfThePageAreKeptAndAnswersComePacked(t *testing.T) {
	b := newBoard(t)
	b.fill(t, day(time.Now(), 1.2)...)
	base := b.serve(t)
	_, index, header := get(t, "GET", base+"/", "")
	if header.Get("ETag") == "" || header.Get("Cache-Control") != cacheAndAsk {
		t.Errorf("/: %v", header)
	}
	script := index[strings.Index(index, `src="`)+5:]
	script = script[:strings.Index(script, `"`)]
	if !strings.HasPrefix(script, "/page/page.js?") {
		t.Fatalf("the page's script is %q", script)
	}
	for _, c := range []struct {
		name, path, accept, match string
		status                    int
		encoding                  string
	}{
		{"a packed file", script, "gzip, br", "", 200, "gzip"},
		{"for a client without gzip", script, "identity", "", 200, ""},
		{"for a client that refuses gzip", script, "gzip;q=0", "", 200, ""},
		{"an answer of the API", "/api/charts?since=1h&step=30s", "gzip", "", 200, "gzip"},
		{"a small answer", "/health/live", "gzip", "", 200, ""},
		{"a file that the client has", script, "gzip", packedFile("page.js", "").etag, 304, ""},
		{"another version of the file", script, "gzip", `"0123"`, 200, "gzip"},
		{"one of several versions", script, "gzip", `"0123", W/` + packedFile("page.js", "").etag, 304, ""},
	} {
		status, body, header := getWith(t, base+c.path, map[string]string{"Accept-Encoding": c.accept, "If-None-Match": c.match})
		if status != c.status || header.Get("Content-Encoding") != c.encoding || (status == 304) != (body == "") {
			t.Errorf("%s: %d, encoded %q, %d bytes", c.name, status, header.Get("Content-Encoding"), len(body))
		}
		if strings.HasPrefix(c.path, "/page/") && !strings.Contains(header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: Cache-Control %q", c.name, header.Get("Cache-Control"))
		}
		if status == 200 && c.encoding == "" && strings.HasPrefix(c.path, "/page/") && !strings.Contains(body, "class Chart") {
			t.Errorf("%s: the file is not as it was", c.name)
		}
	}

	// The status holds for up to a minute, and a new reason is a new answer at once.
	ask := func(match string) (int, string) {
		status, _, header := getWith(t, base+"/api/status", map[string]string{"If-None-Match": match})
		return status, header.Get("ETag")
	}
	_, etag := ask("")
	status, again := ask(etag)
	if status != 304 {
		if status, _ = ask(again); status != 304 { // a minute may have ended between the two
			t.Errorf("an unchanged status is answered with %d", status)
		}
	}
	b.mu.Lock()
	b.locks[shipper] = Lock{}
	b.mu.Unlock()
	b.expire()
	if status, _ := ask(again); status != 200 {
		t.Errorf("a new reason is answered with %d", status)
	}
}

// axe-core judges whether people with other senses and hands can use a page
// (https://github.com/dequelabs/axe-core). It comes from the npm registry.
const axePackage = "axe-core@4.14.1"

func axe(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("npm is not installed, and axe-core cannot be had without it")
		}
		t.Skip("npm is not installed: the page's accessibility is not judged")
	}
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), npm, "pack", "--silent", "--pack-destination", dir, axePackage)
	if out, err := command.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("fetch %s: %v\n%s", axePackage, err, out)
		}
		t.Skipf("fetch %s: %v", axePackage, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	out, err := exec.CommandContext(t.Context(), "tar", "-xzOf", found[0], "package/axe.min.js").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// looks are the windows and colours in which the page is judged and photographed.
var looks = []struct {
	name, scheme  string
	width, height int64
}{
	{"1280-light", "light", 1280, 2000},
	{"1280-dark", "dark", 1280, 2000},
	{"390-light", "light", 390, 3000},
	{"390-dark", "dark", 390, 3000},
}

func TestThePageHasNoFindingOfAxe(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	script := axe(t)
	for _, state := range []struct {
		name  string
		make  func(b *board)
		until string
	}{
		{"ok", func(b *board) { b.fill(t, day(time.Now(), 1.2)...) }, "#status.ok"},
		{"degraded", func(b *board) {
			b.fill(t, day(time.Now(), 1.2)...)
			b.locks[shipper] = Lock{}
		}, "#status.degraded"},
		{"error", func(*board) {}, "#status.error"},
	} {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t)
			state.make(b)
			ctx := browser(t)
			base := b.serve(t)
			heard := listen(ctx, t)
			mustDo(ctx, t, chromedp.Navigate(base+"/"))
			mustBecome(ctx, t, heard, fmt.Sprintf("document.querySelector(%q) && document.body.dataset.charts", state.until))
			mustAsk[bool](ctx, t, `document.querySelectorAll("details").forEach(d => { d.open = true; }) || true`)
			mustAsk[bool](ctx, t, script+";true")
			for _, look := range looks {
				as(ctx, t, look.scheme, look.width, look.height)
				mustAsk[bool](ctx, t, `window.found = undefined, axe.run().then(r => { window.found = r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html).join(" ")); }), true`)
				mustBecome(ctx, t, heard, "window.found")
				for _, finding := range mustAsk[[]string](ctx, t, "window.found") {
					t.Errorf("%s: %s", look.name, finding)
				}
				if cut := mustAsk[[]string](ctx, t, `[...document.querySelectorAll("#facts dd")].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)`); len(cut) > 0 {
					t.Errorf("%s: facts are cut off: %q", look.name, cut)
				}
				photograph(ctx, t, state.name+"-"+look.name)
			}
		})
	}
}

// as gives the window a size and the reader a preference.
func as(ctx context.Context, t *testing.T, scheme string, width, height int64) {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	mustDo(ctx, t, chromedp.EmulateViewport(width, height), chromedp.Sleep(300*time.Millisecond))
}

// photograph writes what the page looks like to HEALTH_SCREENSHOTS, if set.
func photograph(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("HEALTH_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBrowsersWithoutScriptsSeeTheStatus(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	b.locks[shipper] = Lock{}
	base := b.serve(t)
	_, body, _ := get(t, "GET", base+"/", "")
	plain := body[strings.Index(body, "<noscript>"):strings.Index(body, "</noscript>")]
	for _, want := range []string{"board-1", "degraded", "shipper_crashed"} {
		if !strings.Contains(plain, want) {
			t.Errorf("%q is not in %s", want, plain)
		}
	}
}

// Who asks within one judgement is given the same page, which was written and packed once.
func TestThePageIsRenderedOncePerEvaluation(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	s := NewServer(b.watch(t), b.config(), "1.0", time.Now(), slog.New(slog.DiscardHandler))
	ask := func() reply { return s.page(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)) }
	pages := map[*byte]string{} // by where they are in memory
	for range 1000 {
		a := ask()
		pages[unsafe.StringData(a.packed)] = a.etag
	}
	if len(pages) > 100 { // one a second
		t.Errorf("1000 requests wrote %d pages", len(pages))
	}
	b.mu.Lock()
	b.locks[shipper] = Lock{}
	b.mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(ask().body, "shipper_crashed") {
		if time.Now().After(deadline) {
			t.Fatal("the page never has the new status")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if plain, err := unpack(ask().packed); err != nil || !strings.Contains(plain, "shipper_crashed") {
		t.Errorf("packed the page does not have the new status, %v", err)
	}
}

func TestEventsAreTheSessionsAndLossesOfTheDatabase(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	mustSQL(t, b.path, `INSERT INTO sessions (id, start_time, end_time, status, metadata) VALUES
		('a', 1000, 2000, 'completed', '{"boot_id":"x","version":"1.0"}'),
		('b', 3000, NULL, 'failed', '{"boot_id":"x","version":"1.0"}'),
		('c', 4000, NULL, 'active', '{"boot_id":"y","version":"1.1"}'),
		('d', 5000, NULL, 'active', 'damaged');
		INSERT INTO losses VALUES ('max_size', 12, 100, 3500), ('max_age', 0, 0, 0)`)
	_, body, _ := get(t, "GET", b.serve(t)+"/api/events", "")
	var got struct{ Events []Event }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range got.Events {
		lines = append(lines, fmt.Sprintf("%d %s %t %s", e.TimeMs, e.Source, e.Bad, e.Text))
	}
	want := []string{
		"5000 collector true started, after a session that did not end properly",
		"4000 board true booted; the collector started 1.1, after a session that did not end properly (before: 1.0)",
		"3500 losses true samples lost (max_size): 12 in total",
		"3000 collector false started 1.0",
		"2000 collector false stopped",
		"1000 collector false started 1.0",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
