// Package v4l2 queries the state of a video input: whether there is a
// cable, and the timings of the signal.
//
// The one rule here: it only reads. A device is opened read-only, and the four
// requests below change nothing; what starts a capture, chooses an input or
// timings, or touches the EDID is not in this package. Some of them are not
// without cost all the same: on an RK3588 a Query that fails writes a line to the
// kernel's log and waits some milliseconds.
//
// Source: Documentation/userspace-api/media/v4l; include/uapi/linux/videodev2.h.
// The structures have the same layout on amd64, arm64 and arm.
package v4l2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// A Device takes the requests of one video device.
type Device interface {
	// Ioctl hands arg to the driver, which may write into it.
	Ioctl(request uint32, arg []byte) error
}

// The requests, with the direction and size of their structures in them.
const (
	EnumInput      = 0xC050561A // VIDIOC_ENUMINPUT
	GetControl     = 0xC008561B // VIDIOC_G_CTRL
	GetDVTimings   = 0xC0845658 // VIDIOC_G_DV_TIMINGS
	QueryDVTimings = 0x80845663 // VIDIOC_QUERY_DV_TIMINGS
)

const (
	sizeInput, sizeControl, sizeTimings = 80, 8, 132

	powerPresent  = 0x00A00964 // V4L2_CID_DV_RX_POWER_PRESENT
	capDVTimings  = 0x00000002 // V4L2_IN_CAP_DV_TIMINGS
	typeBT656     = 0          // V4L2_DV_BT_656_1120
	reducedFPS    = 1 << 2     // V4L2_DV_FL_REDUCED_FPS
	minSide       = 16
	maxSide       = 8192
	minRate       = 1
	maxRate       = 250
	maxPixelClock = 10_000_000_000
)

// What a driver may answer instead of timings.
var (
	ErrNoCable  = errors.New("no cable")         // ENOLINK
	ErrNoLock   = errors.New("no stable signal") // ENOLCK, ERANGE
	ErrNotHDMI  = errors.New("not an HDMI input")
	ErrNoAnswer = errors.New("the driver does not tell") // it has no such control
)

// Input says whether the first input of the device is one for HDMI and its kind:
// with timings that come from outside. ErrNotHDMI means that it is not.
func Input(d Device) error {
	arg := make([]byte, sizeInput)
	if err := d.Ioctl(EnumInput, arg); err != nil {
		if errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EINVAL) {
			return ErrNotHDMI
		}
		return fmt.Errorf("VIDIOC_ENUMINPUT: %w", err)
	}
	if binary.NativeEndian.Uint32(arg[60:])&capDVTimings == 0 {
		return ErrNotHDMI
	}
	return nil
}

// Powered says whether a cable with power on it is plugged in. ErrNoAnswer means
// that the driver does not know.
func Powered(d Device) (bool, error) {
	arg := make([]byte, sizeControl)
	binary.NativeEndian.PutUint32(arg, powerPresent)
	if err := d.Ioctl(GetControl, arg); err != nil {
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTTY) {
			return false, ErrNoAnswer
		}
		return false, fmt.Errorf("VIDIOC_G_CTRL: %w", err)
	}
	return binary.NativeEndian.Uint32(arg[4:]) != 0, nil
}

// Query looks for the timings of the signal that is there now.
func Query(d Device) (Timings, error) { return ask(d, QueryDVTimings, "VIDIOC_QUERY_DV_TIMINGS") }

// Current returns the timings that the driver took last, without looking.
func Current(d Device) (Timings, error) { return ask(d, GetDVTimings, "VIDIOC_G_DV_TIMINGS") }

func ask(d Device, request uint32, name string) (Timings, error) {
	arg := make([]byte, sizeTimings)
	err := d.Ioctl(request, arg)
	switch {
	case err == nil:
		t, err := parse(arg)
		if err != nil {
			return Timings{}, fmt.Errorf("%s: %w", name, err)
		}
		return t, nil
	case errors.Is(err, syscall.ENOLINK):
		return Timings{}, ErrNoCable
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ERANGE):
		return Timings{}, ErrNoLock
	case errors.Is(err, syscall.ENODATA), errors.Is(err, syscall.ENOTTY):
		return Timings{}, ErrNotHDMI
	}
	return Timings{}, fmt.Errorf("%s: %w", name, err)
}

// Timings are those of a picture.
type Timings struct {
	Width, Height int
	Interlaced    bool
	PixelClock    uint64  // in hertz
	Rate          float64 // pictures a second; of an interlaced signal, fields
}

// parse reads struct v4l2_dv_timings, which is packed. Numbers that no signal
// has are an error: drivers have been seen to tell of 39024 by 0.
func parse(arg []byte) (Timings, error) {
	at := func(offset int) uint64 { return uint64(binary.NativeEndian.Uint32(arg[offset:])) }
	if kind := at(0); kind != typeBT656 {
		return Timings{}, fmt.Errorf("timings of type %d", kind)
	}
	t := Timings{
		Width: int(at(4)), Height: int(at(8)), Interlaced: at(12) != 0,
		PixelClock: binary.NativeEndian.Uint64(arg[20:]),
	}
	if t.Width < minSide || t.Width > maxSide || t.Height < minSide || t.Height > maxSide {
		return Timings{}, fmt.Errorf("%d by %d is not a picture size", t.Width, t.Height)
	}
	if t.PixelClock > maxPixelClock {
		return Timings{}, fmt.Errorf("a pixel clock of %d Hz", t.PixelClock)
	}
	width := at(4) + at(28) + at(32) + at(36)
	height := at(8) + at(40) + at(44) + at(48)
	rate := float64(t.PixelClock)
	if t.Interlaced {
		height += at(52) + at(56) + at(60) // those of the second field
		rate *= 2
	}
	if at(68)&reducedFPS != 0 {
		rate *= 1000.0 / 1001
	}
	t.Rate = rate / (float64(width) * float64(height))
	if t.Rate < minRate || t.Rate > maxRate {
		return Timings{}, fmt.Errorf("%g pictures a second", t.Rate)
	}
	return t, nil
}
