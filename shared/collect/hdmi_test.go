package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/v4l2"
)

// fakeDevice answers as a driver does that has one input, and writes down what
// it is asked.
type fakeDevice struct {
	caps    uint32
	power   uint32
	noPower bool // the driver has no such control
	query   syscall.Errno
	timings []byte
	asked   []string
}

// picture is struct v4l2_dv_timings of a picture whose lines and rows have no
// blanking.
func picture(width, height, rate uint32) []byte {
	b := make([]byte, 132)
	binary.NativeEndian.PutUint32(b[4:], width)
	binary.NativeEndian.PutUint32(b[8:], height)
	binary.NativeEndian.PutUint64(b[20:], uint64(width)*uint64(height)*uint64(rate))
	return b
}

func (f *fakeDevice) Ioctl(request uint32, arg []byte) error {
	name := map[uint32]string{v4l2.EnumInput: "input", v4l2.GetControl: "power", v4l2.GetDVTimings: "current", v4l2.QueryDVTimings: "query"}[request]
	if name == "" {
		panic(fmt.Sprintf("request %#x", request))
	}
	if size := int(request >> 16 & 0x3fff); size != len(arg) {
		panic(fmt.Sprintf("request %#x with %d bytes", request, len(arg)))
	}
	f.asked = append(f.asked, name)
	switch request {
	case v4l2.EnumInput:
		binary.NativeEndian.PutUint32(arg[60:], f.caps)
	case v4l2.GetControl:
		if binary.NativeEndian.Uint32(arg) != 0x00a00964 || f.noPower {
			return syscall.EINVAL
		}
		binary.NativeEndian.PutUint32(arg[4:], f.power)
	case v4l2.QueryDVTimings:
		if f.query != 0 {
			return f.query
		}
		copy(arg, f.timings)
	case v4l2.GetDVTimings:
		copy(arg, f.timings)
	}
	return nil
}

func (f *fakeDevice) Close() error { return nil }

// hdmiOf is a collector of one input that is the fake.
func hdmiOf(t *testing.T, f *fakeDevice, files map[string]string) *hdmiCollector {
	t.Helper()
	c := newHDMI(rootsOf(t, files), config.MetricConfig{Devices: []string{config.DefaultHDMI}})
	c.open = func(string) (videoDevice, error) { return f, nil }
	return c
}

// round runs the collector once and returns what it said, without the names that
// are always the same, and what the driver was asked.
func (f *fakeDevice) round(t *testing.T, c *hdmiCollector, now time.Time) (said, asked string) {
	t.Helper()
	f.asked = nil
	samples, err := c.Collect(now)
	for _, s := range samples {
		if _, ok := metric.Lookup(s.Name); !ok {
			t.Errorf("%s is not in the catalogue", s.Name)
		}
	}
	said = strings.NewReplacer(`{"input":"hdmi"}`, "", "hdmi.", "", "\n", "; ").Replace(text(t, samples, now))
	if n := Failed(err); n > 0 {
		said += fmt.Sprintf("%d failed; ", n)
	}
	return strings.TrimSuffix(said, "; "), strings.Join(f.asked, " ")
}

// TestTheDriverIsAskedNoMoreThanNeeded: a query that fails is a line in the
// kernel's log and a wait. Each step is a time, what changes, and what the driver
// is asked then.
func TestTheDriverIsAskedNoMoreThanNeeded(t *testing.T) {
	f := &fakeDevice{caps: 2, timings: picture(1920, 1080, 60)}
	c := hdmiOf(t, f, nil)
	begun := time.UnixMilli(1_790_000_000_000)
	plug := func() { f.power = 1 }
	unplug := func() { f.power = 0 }
	lose := func() { f.query = syscall.ENOLCK }
	lock := func() { f.query = 0 }
	const picture1080 = "width_pixels 1920; height_pixels 1080; rate_hz 60; interlaced 0"
	for _, step := range []struct {
		at          int // seconds
		change      func()
		said, asked string
	}{
		{0, nil, "signal 0; changes_total 0", "input power"},
		{10, nil, "signal 0; changes_total 0", "input power"},
		{20, plug, "signal 2; changes_total 1; " + picture1080, "input power query"},
		{30, nil, "signal 2; changes_total 1; " + picture1080, "input power current"},
		{40, nil, "signal 2; changes_total 1; " + picture1080, "input power current"},
		{50, nil, "signal 2; changes_total 1; " + picture1080, "input power query"},
		{60, lose, "signal 2; changes_total 1; " + picture1080, "input power current"},
		{80, nil, "signal 1; changes_total 2", "input power query"}, // the first without a lock
		{90, nil, "signal 1; changes_total 2", "input power"},
		{110, nil, "signal 1; changes_total 2", "input power query"}, // after 30 s
		{140, nil, "signal 1; changes_total 2", "input power"},
		{170, nil, "signal 1; changes_total 2", "input power query"}, // 60
		{280, nil, "signal 1; changes_total 2", "input power"},
		{290, nil, "signal 1; changes_total 2", "input power query"}, // 120
		{520, nil, "signal 1; changes_total 2", "input power"},
		{530, nil, "signal 1; changes_total 2", "input power query"}, // 240
		{820, nil, "signal 1; changes_total 2", "input power"},
		{830, nil, "signal 1; changes_total 2", "input power query"}, // 300
		{1120, nil, "signal 1; changes_total 2", "input power"},
		{1130, nil, "signal 1; changes_total 2", "input power query"}, // and 300 again
		{1140, unplug, "signal 0; changes_total 3", "input power"},
		{1150, plug, "signal 1; changes_total 4", "input power"}, // 20 s after the last query
		{1160, nil, "signal 1; changes_total 4", "input power query"},
		{1170, lock, "signal 1; changes_total 4", "input power"},
		{1190, nil, "signal 2; changes_total 5; " + picture1080, "input power query"},
		{1200, func() { f.timings = picture(1280, 720, 50) }, "signal 2; changes_total 6; width_pixels 1280; height_pixels 720; rate_hz 50; interlaced 0", "input power current"},
		{1220, func() { f.query = syscall.ENOLINK }, "signal 0; changes_total 7", "input power query"},
		{1250, func() { f.query = syscall.ERANGE }, "signal 1; changes_total 8", "input power query"},
		{1310, func() { f.query = syscall.EIO }, "1 failed", "input power query"},
		{1320, nil, "1 failed", "input power"},
		{1430, func() { f.query, f.timings = 0, picture(39024, 0, 60) }, "1 failed", "input power query"},
	} {
		if step.change != nil {
			step.change()
		}
		said, asked := f.round(t, c, begun.Add(time.Duration(step.at)*time.Second))
		if said != step.said || asked != step.asked {
			t.Errorf("%d s: said %q, asked %q;\nwant %q, %q", step.at, said, asked, step.said, step.asked)
		}
	}
}

func TestChangesOfAnInputCountOnOverARestart(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	f := &fakeDevice{caps: 2, power: 1, timings: picture(1920, 1080, 60)}
	changes := func(c *hdmiCollector, second int) (said float64, kept *metric.Count) {
		t.Helper()
		o, err := c.Observe(Moment{Wall: now.Add(time.Duration(second) * time.Second)})
		if err != nil || len(o.Counts) != 1 {
			t.Fatal(o.Counts, err)
		}
		for _, s := range o.Samples {
			if s.Name == hdmiChanges {
				said = s.Value
			}
		}
		if o.Keep {
			kept = &o.Counts[0]
		}
		return said, kept
	}
	c := hdmiOf(t, f, nil)
	c.Restore(LastRun{})
	if said, kept := changes(c, 0); said != 0 || kept != nil {
		t.Errorf("at first %v, kept %v", said, kept)
	}
	f.power = 0
	said, kept := changes(c, 10)
	if said != 1 || kept == nil || kept.Value != 1 {
		t.Fatalf("after the cable %v, kept %v", said, kept)
	}
	if said, kept := changes(c, 20); said != 1 || kept != nil {
		t.Errorf("nothing changed: %v, kept %v", said, kept)
	}
	c = hdmiOf(t, f, nil)
	c.Restore(LastRun{Counts: []metric.Count{{Name: hdmiChanges, Tags: metric.Tags("input", "other"), Value: 9}, *kept}})
	if said, kept := changes(c, 30); said != 1 || kept != nil {
		t.Errorf("after a restart %v, kept %v", said, kept)
	}
	f.power = 1
	if said, kept := changes(c, 40); said != 2 || kept == nil {
		t.Errorf("then %v, kept %v", said, kept)
	}
}

func TestAVideoDeviceWithoutHDMIInputIsSilent(t *testing.T) {
	for name, f := range map[string]*fakeDevice{
		"a webcam":                      {caps: 0, power: 1},
		"an input without timings":      {caps: 2, power: 1, query: syscall.ENODATA},
		"a driver without the requests": {caps: 2, noPower: true, query: syscall.ENOTTY},
	} {
		c := hdmiOf(t, f, nil)
		for i := range 3 {
			if said, asked := f.round(t, c, time.UnixMilli(1_790_000_000_000).Add(time.Duration(i)*10*time.Second)); said != "" {
				t.Errorf("%s: said %q, asked %q", name, said, asked)
			}
		}
	}
	f := &fakeDevice{caps: 2, noPower: true, timings: picture(1920, 1080, 30)}
	if said, _ := f.round(t, hdmiOf(t, f, nil), time.Now()); !strings.HasPrefix(said, "signal 2") {
		t.Errorf("a driver that does not know the power: %q", said)
	}
}

func TestTheFileOfTheKernelIsReadBeforeTheDevice(t *testing.T) {
	const status = "sys/class/hdmirx/hdmirx/status"
	for _, tt := range []struct{ status, said, asked string }{
		{"disconnected\n", "signal 0; changes_total 0", ""},
		{"connected\n", "signal 2; changes_total 0; width_pixels 1920; height_pixels 1080; rate_hz 60; interlaced 0", "input power query"},
		{"sideways\n", "signal 2; changes_total 0; width_pixels 1920; height_pixels 1080; rate_hz 60; interlaced 0; 1 failed", "input power query"},
	} {
		f := &fakeDevice{caps: 2, power: 1, timings: picture(1920, 1080, 60)}
		said, asked := f.round(t, hdmiOf(t, f, map[string]string{status: tt.status}), time.Now())
		if said != tt.said || asked != tt.asked {
			t.Errorf("%q: said %q, asked %q; want %q, %q", tt.status, said, asked, tt.said, tt.asked)
		}
	}
}

func TestAMissingDeviceIsSilentAndAForbiddenOneFails(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"not there":   {fs.ErrNotExist, 0},
		"gone":        {syscall.ENODEV, 0},
		"not allowed": {syscall.EACCES, 1},
		"busy":        {syscall.EBUSY, 1},
	} {
		c := hdmiOf(t, nil, nil)
		c.open = func(path string) (videoDevice, error) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: tt.err}
		}
		samples, err := c.Collect(time.Now())
		if len(samples) > 0 || Failed(err) != tt.want || tt.want == 0 && !errors.Is(err, ErrNoData) {
			t.Errorf("%s: %d samples, %v", name, len(samples), err)
		}
	}
	// A file that is no device answers no request.
	dir := t.TempDir()
	hosttest.Write(t, filepath.Join(dir, "belabox-hdmi"), "")
	c := newHDMI(rootsOf(t, nil), config.MetricConfig{Devices: []string{filepath.Join(dir, "belabox-hdmi"), "/dev/null"}})
	if samples, err := c.Collect(time.Now()); len(samples) > 0 || Failed(err) > 1 {
		t.Errorf("%d samples, %v", len(samples), err)
	}
}
