package v4l2_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/taniwha3/thugshells/shared/v4l2"
)

// left is a driver that leaves these bytes in every structure.
type left []byte

// Ioctl implements v4l2.Device.
func (l left) Ioctl(_ uint32, arg []byte) error {
	copy(arg, l)
	return nil
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

// givenCase is a line of v4l2/cases.jsonl: bytes that a kernel's driver left in
// the structures, and what v4l2-ctl said at that moment.
type givenCase struct {
	Name       string
	InputHex   string `json:"input_hex"`
	PowerHex   string `json:"power_hex"`
	QueryHex   string `json:"query_hex"`
	QueryErrno int    `json:"query_errno"`
	Expected   struct {
		State         string
		Width, Height int
		Interlaced    bool
		Rate          float64 `json:"rate_hz"`
		PixelClock    uint64  `json:"pixelclock_hz"`
	}
}

// Ioctl implements v4l2.Device with the given bytes.
func (g givenCase) Ioctl(request uint32, arg []byte) error {
	text := map[uint32]string{v4l2.EnumInput: g.InputHex, v4l2.GetControl: g.PowerHex, v4l2.QueryDVTimings: g.QueryHex}[request]
	bytes, err := hex.DecodeString(text)
	if err != nil || len(bytes) != len(arg) {
		panic(fmt.Sprintf("%s: request %#x: %d bytes, %v", g.Name, request, len(bytes), err))
	}
	copy(arg, bytes)
	if request == v4l2.QueryDVTimings && g.QueryErrno != 0 {
		return syscall.Errno(g.QueryErrno)
	}
	return nil
}

func TestRecordedAnswersOfADriverAreUnderstood(t *testing.T) {
	root := os.Getenv("METRICS_FIXTURES")
	if root == "" {
		t.Skip("METRICS_FIXTURES names no directory")
	}
	data, err := os.ReadFile(filepath.Join(root, "encoder/v4l2/cases.jsonl"))
	if err != nil {
		t.Skip(err)
	}
	cases := 0
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); cases++ {
		var g givenCase
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		got := "locked"
		if g.InputHex != "" {
			if err := v4l2.Input(g); err != nil {
				got = "not_an_hdmi_input"
			} else if on, err := v4l2.Powered(g); err != nil || on != (g.Expected.State != "no_cable") {
				t.Errorf("%s: power %t, %v", g.Name, on, err)
			}
		}
		timings, err := v4l2.Query(g)
		switch {
		case errors.Is(err, v4l2.ErrNotHDMI):
			got = "not_an_hdmi_input"
		case errors.Is(err, v4l2.ErrNoCable):
			got = "no_cable"
		case errors.Is(err, v4l2.ErrNoLock):
			got = "no_lock"
		case err != nil:
			t.Errorf("%s: %v", g.Name, err)
		}
		want := g.Expected.State
		if want == "out_of_range" {
			want = "no_lock"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", g.Name, got, want)
		}
		e := g.Expected
		if timings.Width != e.Width || timings.Height != e.Height || timings.Interlaced != e.Interlaced || timings.PixelClock != e.PixelClock || math.Abs(timings.Rate-e.Rate) > 0.005 {
			t.Errorf("%s: %+v, want %+v", g.Name, timings, e)
		}
	}
	if cases == 0 {
		t.Error("no cases")
	}
}

func TestTheRateOfAReducedPictureIsAThousandthLower(t *testing.T) {
	b := picture(1920, 1080, 60)
	for flags, want := range map[uint32]float64{0: 60, 1 << 1: 60, 1 << 2: 59.94, 1<<1 | 1<<2: 59.94} {
		binary.NativeEndian.PutUint32(b[68:], flags)
		got, err := v4l2.Query(left(b))
		if err != nil || math.Abs(got.Rate-want) > 0.001 {
			t.Errorf("flags %#x: %v, %v; want %v", flags, got.Rate, err, want)
		}
	}
}

// FuzzTimings: whatever a driver leaves in the structure, what is taken of it
// is a picture.
func FuzzTimings(f *testing.F) {
	f.Add(picture(1920, 1080, 60))
	f.Add(slices.Repeat([]byte{0xff}, 132))
	f.Add(make([]byte, 132))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := v4l2.Query(left(b))
		if err != nil {
			return
		}
		if got.Width < 16 || got.Width > 8192 || got.Height < 16 || got.Height > 8192 || !(got.Rate >= 1 && got.Rate <= 250) {
			t.Errorf("%+v", got)
		}
	})
}
