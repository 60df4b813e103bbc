package collect

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

func TestZonesAreIsolatedFromEachOther(t *testing.T) {
	dir := t.TempDir()
	class := filepath.Join(dir, "sys/class/thermal")
	put := func(zone, kind, temp string) {
		t.Helper()
		if kind != "" {
			hosttest.Write(t, filepath.Join(class, zone, "type"), kind)
		}
		hosttest.Write(t, filepath.Join(class, zone, "temp"), temp)
	}
	put("thermal_zone0", "cold", "-44000\n")
	put("thermal_zone1", "zero", "0\n")
	put("thermal_zone2", "", "1500\n")
	put("thermal_zone10", "hot\n", "85250\n")
	put("thermal_zone3", "broken", "garbage\n")
	put("thermal_zone4", "empty", "")
	put("thermal_zone5", "absurd", "250001\n")
	put("thermal_zone6", "unread", "-274000\n")
	put("thermal_zone7", "fraction", "45.5\n")
	put("thermal_zone8", "\n", "45000\n")
	put("thermal_zone01", "not a zone", "99000\n")
	put("cooling_device0", "fan", "99000\n")
	if err := os.Mkdir(filepath.Join(class, "thermal_zone9"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(class, "thermal_zone9/temp"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A zone is a link on a real system.
	hosttest.Write(t, filepath.Join(dir, "sys/devices/zone/temp"), "2000\n")
	hosttest.Write(t, filepath.Join(dir, "sys/devices/zone/type"), "a \"quoted\" zone\n")
	if err := os.Symlink("../../devices/zone", filepath.Join(class, "thermal_zone11")); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	samples, err := mustNamed(t, hosttest.Roots(dir), "cpu.temperature").Collect(now)
	want := `cpu.temperature 85.25
thermal.zone_temp{"index":"0","zone":"cold"} -44
thermal.zone_temp{"index":"1","zone":"zero"} 0
thermal.zone_temp{"index":"2","zone":"thermal_zone2"} 1.5
thermal.zone_temp{"index":"10","zone":"hot"} 85.25
thermal.zone_temp{"index":"11","zone":"a \"quoted\" zone"} 2
`
	if d := cmp.Diff(want, text(t, samples, now)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if Failed(err) != 7 {
		t.Errorf("%d failed, want 7: %v", Failed(err), err)
	}
}

func TestTheHottestZoneMayBeBelowZero(t *testing.T) {
	dir := t.TempDir()
	hosttest.Write(t, filepath.Join(dir, "sys/class/thermal/thermal_zone0/temp"), "-12000\n")
	now := time.Now()
	samples, err := mustNamed(t, hosttest.Roots(dir), "cpu.temperature").Collect(now)
	if got := text(t, samples, now); err != nil || !strings.HasPrefix(got, "cpu.temperature -12\n") {
		t.Errorf("%s %v", got, err)
	}
}

func TestNoZonesIsNoFailure(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		samples, err := mustNamed(t, hosttest.Roots(dir), "cpu.temperature").Collect(time.Now())
		if len(samples) > 0 || !errors.Is(err, ErrNoData) || Failed(err) != 0 {
			t.Errorf("%v, %v", samples, err)
		}
		hosttest.Write(t, filepath.Join(dir, "sys/class/thermal/cooling_device0/type"), "fan\n")
	}
}

func TestSmallReadingsAreWholeDegrees(t *testing.T) {
	for value, want := range map[string]float64{
		"0": 0, "1": 1, "53": 53, "200": 200, "201": 0.201, "999": 0.999, "1000": 1, "53000": 53, "125000": 125, "250000": 250,
		"-1": -0.001, "-40": -0.04, "-40000": -40, "-60000": -60,
	} {
		if got, err := parseMillidegrees(value); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"NaN", "nan", "inf", "", "5e4", "45.5", "250001", "-60001", "-274000", "-2147483648", "99999999999999999999"} {
		if got, err := parseMillidegrees(value); err == nil {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestAnExcludedZoneIsNeitherReportedNorTheHottest(t *testing.T) {
	dir := t.TempDir()
	class := filepath.Join(dir, "sys/class/thermal")
	for zone, file := range map[string][2]string{"0": {"soc", "61000"}, "1": {"unwired", "125000"}, "2": {"dead", "garbage"}, "3": {"soc-2", "125000"}, "4": {"x_unwired", "62000"}} {
		hosttest.Write(t, filepath.Join(class, "thermal_zone"+zone, "type"), file[0]+"\n")
		hosttest.Write(t, filepath.Join(class, "thermal_zone"+zone, "temp"), file[1]+"\n")
	}
	hosttest.Write(t, filepath.Join(class, "thermal_zone5", "temp"), "125000\n")
	c, err := newThermal(hosttest.Roots(dir), config.MetricConfig{ExcludeZones: []string{"unwired|dead", "thermal_zone[35]"}}, "config")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	samples, err := c.Collect(now)
	want := `cpu.temperature 62
thermal.zone_temp{"index":"0","zone":"soc"} 61
thermal.zone_temp{"index":"4","zone":"x_unwired"} 62
`
	if d := cmp.Diff(want, text(t, samples, now)); d != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, d)
	}
	c.exclude = config.Names{regexp.MustCompile(".*")}
	if samples, err := c.Collect(now); len(samples) > 0 || !errors.Is(err, ErrNoData) {
		t.Errorf("all left out: %v, %v", samples, err)
	}
	if _, err := newThermal(hosttest.Roots(dir), config.MetricConfig{ExcludeZones: []string{"("}}, "metrics[1].config"); err == nil || !strings.HasPrefix(err.Error(), "metrics[1].config.exclude_zones[0]: ") {
		t.Errorf("a bad pattern: %v", err)
	}
}
