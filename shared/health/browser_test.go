package health

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
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
	go func() { ended <- s.Serve(ctx, counted{l, &b.sent}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// counted counts the bytes that the server writes, headers included.
type counted struct {
	net.Listener
	sent *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.sent}, err
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
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
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
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
