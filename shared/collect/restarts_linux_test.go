package collect

import (
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/taniwha3/thugshells/shared/config"
)

// properties answers for the properties of an object, by interface and name.
type properties map[string]any

// Get implements org.freedesktop.DBus.Properties.
func (p properties) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	if v, ok := p[iface+"."+name]; ok {
		return dbus.MakeVariant(v), nil
	}
	return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
}

// TestRestartsOfTheKnownUnitsAreReported has a program answer in systemd's place, as
// systemd 252 does.
func TestRestartsOfTheKnownUnitsAreReported(t *testing.T) {
	const systemd = "org.freedesktop.systemd1"
	address, _ := privateBus(t)
	run := func() (string, int) {
		c := newUnits(rootsOf(t, nil), config.MetricConfig{Units: config.DefaultUnits()})
		c.address = address
		now := time.Now()
		samples, err := c.Collect(now)
		return strings.TrimSuffix(text(t, samples, now), "\n"), Failed(err)
	}
	if got, failed := run(); got != "" || failed != 0 {
		t.Errorf("no systemd: %s, %d failed", got, failed)
	}
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	export := func(path string, p properties) {
		if err := conn.Export(p, dbus.ObjectPath(path), "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	export("/org/freedesktop/systemd1", properties{systemd + ".Manager.NFailedUnits": uint32(2)})
	export("/org/freedesktop/systemd1/unit/ceralive_2eservice", properties{systemd + ".Unit.LoadState": "not-found"})
	if _, err := conn.RequestName(systemd, 0); err != nil {
		t.Fatal(err)
	}
	if got, failed := run(); got != "" || failed != 0 {
		t.Errorf("none of the units: %s, %d failed", got, failed)
	}
	export("/org/freedesktop/systemd1/unit/belaUI_2eservice", properties{systemd + ".Unit.LoadState": "loaded", systemd + ".Service.NRestarts": uint32(7)})
	if got, failed := run(); got != "unit.restarts_total{\"unit\":\"belaUI.service\"} 7\nsystem.units_failed 2" || failed != 0 {
		t.Errorf("%s, %d failed", got, failed)
	}
	export("/org/freedesktop/systemd1/unit/belaUI_2eservice", properties{systemd + ".Unit.LoadState": "loaded"})
	if got, failed := run(); got != "system.units_failed 2" || failed != 0 {
		t.Errorf("an old systemd: %s, %d failed", got, failed)
	}
	conn.Close()
	if got, failed := run(); got != "" || failed != 0 {
		t.Errorf("systemd is gone: %s, %d failed", got, failed)
	}
	if want := "_31st_2dunit_40a_2eservice"; busLabel("1st-unit@a.service") != want {
		t.Errorf("%s, want %s", busLabel("1st-unit@a.service"), want)
	}
}
