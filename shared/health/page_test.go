package health

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/taniwha3/thugshells/shared/metric"
)

// serve answers for the board on a free port until the test ends.
func (b *board) serve(t *testing.T) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := NewServer(b.watch(t), b.config(), "1.0", time.Now(), slog.New(slog.DiscardHandler))
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// day are samples of a board as one sees it in the field: six cores, seven
// zones, three modems, one of which was replugged, and an outage of collection.
func day(now time.Time, hours float64) []metric.Sample {
	var all []metric.Sample
	from, until := now.Add(-time.Duration(hours*float64(time.Hour))).Unix()/10*10, now.Unix()/10*10
	noise := uint64(88172645463325252)
	rnd := func() float64 {
		noise ^= noise << 13
		noise ^= noise >> 7
		noise ^= noise << 17
		return float64(noise%1000) / 1000
	}
	total := map[string]float64{}
	for at := from; at <= until; at += 10 {
		left := float64(until-at) / 60 // minutes before now
		collected := left < 24 || left > 29
		put := func(name, tags string, v float64) {
			if !collected {
				return
			}
			all = append(all, metric.Sample{Name: name, Tags: tags, TimeMs: at * 1000, Value: metric.Round(v)})
		}
		count := func(name, tags string, v float64) {
			total[name+tags] += v
			put(name, tags, math.Floor(total[name+tags]))
		}
		wave := math.Sin(float64(at)/700) + math.Sin(float64(at)/190)/3
		put("cpu.usage_percent", metric.Tags("core", "all"), 42+12*wave+6*rnd())
		put("cpu.iowait_percent", metric.Tags("core", "all"), 2+2*rnd())
		for core := range 6 {
			put("cpu.usage_percent", metric.Tags("core", fmt.Sprint(core)), 30+float64(core)*7+10*wave+15*rnd())
		}
		for i, modem := range []string{"eth0", "wwan0", "wwan1", "usb0"} {
			if modem == "wwan1" && left > 15 && left < 18 {
				total["network.tx_bytes_total"+metric.Tags("interface", modem)] = 0
				total["network.rx_bytes_total"+metric.Tags("interface", modem)] = 0
				continue
			}
			count("network.tx_bytes_total", metric.Tags("interface", modem), 10*(200e3+1e5*float64(i)+6e4*math.Sin(float64(at)/300+float64(i))+4e4*rnd()))
			count("network.rx_bytes_total", metric.Tags("interface", modem), 10*(9e3+4e3*rnd()))
		}
		if at%30 != 0 {
			continue
		}
		hottest := 0.0
		for i, zone := range []string{"soc-thermal", "bigcore0-thermal", "bigcore1-thermal", "littlecore-thermal", "center-thermal", "gpu-thermal", "npu-thermal"} {
			temp := 52 + 4*wave + float64(i) + rnd()
			hottest = max(hottest, temp)
			put("thermal.zone_temp", metric.Tags("zone", zone, "index", fmt.Sprint(i)), temp)
		}
		put("cpu.temperature", "", hottest)
		put("memory.used_bytes", "", 2.1e9+1e8*wave)
		put("memory.available_bytes", "", 5.9e9-1e8*wave)
		put("memory.swap_used_bytes", "", 0)
		put("system.load1", "", 2.2+wave*0.7)
		for _, mount := range []string{"/", "/data"} {
			put("disk.used_bytes", metric.Tags("mountpoint", mount), 9.4e9-1e5*left)
			put("disk.available_bytes", metric.Tags("mountpoint", mount), 20e9)
		}
		count("disk.write_bytes_total", metric.Tags("device", "mmcblk0"), 30*(4e4+3e4*rnd()))
		count("disk.read_bytes_total", metric.Tags("device", "mmcblk0"), 30*(1e3+9e3*rnd()))
		backlog := 40 + 30*rnd()
		if left > 5 && left < 12 {
			backlog = (12 - left) * 380
		}
		put("storage.metrics_pending_upload", "", math.Floor(backlog))
		sent := 180.0
		if left > 5 && left < 12 {
			sent = 0
		} else if left > 4 && left <= 5 {
			sent = 900
		}
		count("uploader.metrics_uploaded_total", "", sent)
		count("uploader.bytes_sent_total", "", sent*9.5)
	}
	return all
}

// browser starts a headless Chromium that ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	const chromium = "/usr/bin/chromium"
	if _, err := os.Stat(chromium); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Debian's package chromium is not installed, and the status page cannot be tried without a browser: apt-get install chromium")
		}
		t.Skip("no browser: Debian's package chromium is not installed; make test installs it if it can")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// listening is what the browser did and said.
type listening struct {
	mu       sync.Mutex
	requests []string
	errors   []string
}

func listen(ctx context.Context, t *testing.T) *listening {
	t.Helper()
	heard := &listening{}
	err := chromedp.Listen(ctx, func(event any) {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			heard.requests = append(heard.requests, e.Request.URL)
		case *runtime.EventConsoleAPICalled:
			heard.errors = append(heard.errors, fmt.Sprintf("console.%s: %v", e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			heard.errors = append(heard.errors, fmt.Sprintf("%+v", e.ExceptionDetails))
		case *cdplog.EventEntryAdded:
			heard.errors = append(heard.errors, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, runtime.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return heard
}

// mustAsk evaluates an expression in the page.
func mustAsk[T any](ctx context.Context, t *testing.T, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// mustBecome waits until an expression holds in the page.
func mustBecome(ctx context.Context, t *testing.T, heard *listening, expression string) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !mustAsk[bool](ctx, t, "!!("+expression+")"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("never: %s\n%s\n%s", expression, mustAsk[string](ctx, t, "document.body.innerText"), heard.errors)
		}
	}
}

func mustDo(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

const textOf = `document.querySelector(%q).innerText`

func TestThePageShowsTheBoardInARealBrowser(t *testing.T) {
	ctx := browser(t)
	b := newBoard(t)
	b.fill(t, day(time.Now(), 1.2)...)
	base := b.serve(t)
	heard := listen(ctx, t)
	mustDo(ctx, t, chromedp.EmulateViewport(1480, 900), chromedp.Navigate(base+"/"))

	want := []string{
		"cpu", "cores", "temperature", "memory", "net eth0", "net usb0", "net wwan0", "net wwan1", "backlog", "delivery",
		"traffic of uploads", "disk mmcblk0", "space /", "space /data", "load",
	}
	mustBecome(ctx, t, heard, fmt.Sprintf(`document.querySelectorAll(".card canvas").length >= %d`, len(want)))
	if got := mustAsk[[]string](ctx, t, `[...document.querySelectorAll(".card")].map(c => c.dataset.chart)`); !slices.Equal(got, want) {
		t.Errorf("charts %q", got)
	}
	if status, device := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#status")), mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#device")); status != "ok" || device != "board-1" {
		t.Errorf("status %q, device %q", status, device)
	}
	drawn := mustAsk[int](ctx, t, `[...document.querySelectorAll(".card canvas")].filter(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v)).length`)
	if drawn != len(want) {
		t.Errorf("%d of %d charts are drawn", drawn, len(want))
	}
	gap := mustAsk[string](ctx, t, `JSON.stringify(Charts.lines([{t: [0, 10, 20, 320, 330].map(s => s * 1000), avg: [1, 2, 3, 4, 5], factor: 2}], 10000))`)
	if gap != `[[0,10,20,30,320,330],[2,4,6,null,8,10]]` {
		t.Errorf("an outage is drawn as %s", gap)
	}
	updated := mustAsk[string](ctx, t, `document.body.dataset.updated`)
	mustBecome(ctx, t, heard, fmt.Sprintf(`document.body.dataset.updated > %q && Number(document.body.dataset.charts) >= 2`, updated))

	// What goes wrong is on the page at once, and the charts stay.
	b.mu.Lock()
	b.locks[shipper] = Lock{}
	b.mu.Unlock()
	mustBecome(ctx, t, heard, `document.querySelector("#status.degraded")`)
	if reason := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#reasons li")); !strings.Contains(reason, "ended without a word") || !strings.Contains(reason, "shipper_crashed") {
		t.Errorf("reason %q", reason)
	}
	for _, hours := range []string{"24", "6"} {
		turns := mustAsk[int](ctx, t, `Number(document.body.dataset.charts)`)
		mustDo(ctx, t, chromedp.Click(chromedp.CSS(`#ranges button[data-hours="`+hours+`"]`)))
		mustBecome(ctx, t, heard, fmt.Sprintf(`Number(document.body.dataset.charts) > %d && document.querySelectorAll(".card").length === %d`, turns, len(want)))
	}
	screenshots(ctx, t)

	heard.mu.Lock()
	defer heard.mu.Unlock()
	for _, e := range heard.errors {
		t.Errorf("the browser complains: %s", e)
	}
	if len(heard.requests) < 10 {
		t.Errorf("only %d requests were seen", len(heard.requests))
	}
	for _, r := range heard.requests {
		if at, err := url.Parse(r); err != nil || "http://"+at.Host != base {
			t.Errorf("a request left the host: %s", r)
		}
	}
}

// screenshots writes what the page looks like to HEALTH_SCREENSHOTS, if set.
func screenshots(ctx context.Context, t *testing.T) {
	t.Helper()
	dir := os.Getenv("HEALTH_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, s := range []struct {
		name, scheme  string
		width, height int64
	}{{"dark", "dark", 1240, 920}, {"light", "light", 1440, 1400}, {"phone", "light", 390, 844}} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
			t.Fatal(err)
		}
		mustDo(ctx, t, chromedp.EmulateViewport(s.width, s.height), chromedp.Click(chromedp.CSS(`#ranges button[data-hours="1"]`)), chromedp.Sleep(2*time.Second))
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name+".png"), png, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThePageSaysWhenThereIsNoDatabase(t *testing.T) {
	ctx := browser(t)
	b := newBoard(t)
	base := b.serve(t)
	heard := listen(ctx, t)
	mustDo(ctx, t, chromedp.Navigate(base+"/"))
	mustBecome(ctx, t, heard, `document.querySelector("#status.error")`)
	if reason := mustAsk[string](ctx, t, fmt.Sprintf(textOf, "#reasons li")); !strings.Contains(reason, "there is no database") {
		t.Errorf("reason %q", reason)
	}
	b.fill(t)
	mustBecome(ctx, t, heard, `document.querySelector("#status.ok") && !document.querySelector("#reasons li")`)
}
