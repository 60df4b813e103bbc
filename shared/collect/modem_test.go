package collect

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/bus"
	"github.com/taniwha3/thugshells/shared/metric"
)

// TestMain keeps the collectors off the bus of the machine that the tests run on.
func TestMain(m *testing.M) {
	os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	os.Exit(m.Run())
}

const modemID = "0123456789abcdef0123456789abcdef01234567"

// aModem is one that is registered, as ModemManager shows it, with the numbers
// that must not leave the board.
func aModem(change ...func(device, network, signal bus.Properties)) map[string]bus.Properties {
	device := bus.Properties{
		"State": int32(11), "StateFailedReason": uint32(0), "SignalQuality": []any{uint32(67), true}, "AccessTechnologies": uint32(1 << 14), "Model": "EM7455",
		"DeviceIdentifier": modemID, "EquipmentIdentifier": "490154203237518", "OwnNumbers": []string{"+4915112345678"},
		"Ports": []any{[]any{"cdc-wdm0", uint32(6)}, []any{"wwan0", uint32(2)}, []any{"wwan1", uint32(2)}},
	}
	network := bus.Properties{"RegistrationState": uint32(1), "OperatorName": "Test Network", "Imei": "490154203237518", "OperatorCode": "00101"}
	signal := bus.Properties{"Lte": bus.Properties{"rsrp": -95.0, "rsrq": -10.5, "snr": 12.5, "rssi": -64.0}, "Nr5g": bus.Properties{}}
	for _, c := range change {
		c(device, network, signal)
	}
	all := map[string]bus.Properties{modemManager + ".Modem": device}
	if len(network) > 0 {
		all[modemManager+".Modem.Modem3gpp"] = network
	}
	if len(signal) > 0 {
		all[modemManager+".Modem.Signal"] = signal
	}
	return all
}

func objectsOf(modems ...map[string]bus.Properties) bus.Objects {
	all := bus.Objects{"/org/freedesktop/ModemManager1/SIM/0": {modemManager + ".Sim": {"Imsi": "001010123456789", "SimIdentifier": "8949"}}}
	for i, m := range modems {
		all[fmt.Sprintf("/org/freedesktop/ModemManager1/Modem/%d", i)] = m
	}
	return all
}

// modemSays runs the collector over objects and returns what it says, without
// the parts that are always the same.
func modemSays(t *testing.T, objects bus.Objects) (string, int) {
	t.Helper()
	now := time.Now()
	samples, err := newModems().read(objects, now)
	for _, s := range samples {
		if _, ok := metric.Lookup(s.Name); !ok {
			t.Errorf("%s is not in the catalogue", s.Name)
		}
	}
	got := text(t, samples, now)
	for _, secret := range []string{"490154203237518", "0010101", "4915112345678", "8949", "00101"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is told: %s", secret, got)
		}
	}
	return strings.TrimSuffix(strings.NewReplacer("modem.", "", `{"interface":"wwan0","modem":"01234567"}`, "", "\n", "; ").Replace(got), "; "), Failed(err)
}

func TestTheStateOfAModemIsReportedAsFarAsItIsKnown(t *testing.T) {
	type props = bus.Properties
	const (
		radio = "rsrp_dbm -95; rsrq_db -10.5; sinr_db 12.5; rssi_dbm -64; "
		info  = `info{"interface":"wwan0","model":"EM7455","modem":"01234567","operator":"Test Network","technology":"lte"} 1`
	)
	for _, tt := range []struct {
		name   string
		change func(device, network, signal props)
		want   string
		failed int
	}{
		{"connected", func(_, _, _ props) {}, "state 11; failed_reason 0; sim_missing 0; registered 1; roaming 0; signal_percent 67; " + radio + info, 0},
		{"abroad, on 5G", func(d, n, s props) {
			n["RegistrationState"], d["AccessTechnologies"] = uint32(5), uint32(1<<15|1<<14)
			s["Nr5g"] = props{"rsrp": -88.0}
		}, "state 11; failed_reason 0; sim_missing 0; registered 1; roaming 1; signal_percent 67; rsrp_dbm -88; " + strings.Replace(info, "lte", "5gnr", 1), 0},
		{"signals are not polled", func(_, _, s props) { clear(s) }, "state 11; failed_reason 0; sim_missing 0; registered 1; roaming 0; signal_percent 67; " + info, 0},
		{"searching", func(d, n, s props) {
			clear(s)
			d["State"], d["SignalQuality"], d["AccessTechnologies"] = int32(7), []any{uint32(0), true}, uint32(0)
			n["RegistrationState"], n["OperatorName"] = uint32(2), ""
		}, `state 7; failed_reason 0; sim_missing 0; registered 0; roaming 0; info{"interface":"wwan0","model":"EM7455","modem":"01234567"} 1`, 0},
		{"registered, without any signal", func(d, _, s props) {
			clear(s)
			d["State"], d["SignalQuality"] = int32(8), []any{uint32(0), true}
		}, "state 8; failed_reason 0; sim_missing 0; registered 1; roaming 0; signal_percent 0; " + info, 0},
		{"without a SIM", func(d, n, s props) {
			clear(n)
			clear(s)
			d["State"], d["StateFailedReason"], d["AccessTechnologies"] = int32(-1), uint32(2), uint32(0)
		}, `state -1; failed_reason 2; sim_missing 1; info{"interface":"wwan0","model":"EM7455","modem":"01234567"} 1`, 0},
		{"failed for another reason", func(d, n, s props) {
			clear(n)
			clear(s)
			d["State"], d["StateFailedReason"], d["Model"], d["AccessTechnologies"] = int32(-1), uint32(3), "", uint32(0)
		}, `state -1; failed_reason 3; sim_missing 0; info 1`, 0},
		{"registered for messages only", func(_, n, s props) { clear(s); n["RegistrationState"] = uint32(6) }, "state 11; failed_reason 0; sim_missing 0; registered 0; roaming 0; signal_percent 67; " + info, 0},
		{"a signal of no modem", func(_, _, s props) {
			s["Lte"] = props{"rsrp": -32768.0, "rsrq": math.Inf(-1), "snr": math.NaN(), "rssi": "loud"}
		}, "state 11; failed_reason 0; sim_missing 0; registered 1; roaming 0; signal_percent 67; " + info, 3},
		{"a quality of no modem", func(d, _, s props) { clear(s); d["SignalQuality"] = []any{uint32(101), true} }, "state 11; failed_reason 0; sim_missing 0; registered 1; roaming 0; " + info, 1},
		{"a state of no version", func(d, _, _ props) { d["State"] = int32(12) }, "", 1},
		{"a state that is a text", func(d, _, _ props) { d["State"] = "connected" }, "", 1},
		{"no identifier", func(d, _, _ props) { d["DeviceIdentifier"] = "IMEI490154203237518" }, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, failed := modemSays(t, objectsOf(aModem(tt.change)))
			if got != tt.want || failed != tt.failed {
				t.Errorf("got  %s, %d failed\nwant %s, %d failed", got, failed, tt.want, tt.failed)
			}
		})
	}
}

func TestModemsAreDistinguishedAndBounded(t *testing.T) {
	if got, failed := modemSays(t, objectsOf()); got != "" || failed != 0 {
		t.Errorf("no modems: %s, %d failed", got, failed)
	}
	if got, failed := modemSays(t, objectsOf(aModem(), aModem())); strings.Count(got, "state ") != 1 || failed != 1 {
		t.Errorf("two with one identifier: %s, %d failed", got, failed)
	}
	var many []map[string]bus.Properties
	for i := range maxModems + 3 {
		many = append(many, aModem(func(d, _, _ bus.Properties) { d["DeviceIdentifier"] = fmt.Sprintf("%08x", i) + modemID[8:] }))
	}
	got, _ := modemSays(t, objectsOf(many...))
	if strings.Count(got, "signal_percent") != maxModems || !strings.Contains(got, `collector.devices_dropped_total{"collector":"status"} 3`) {
		t.Errorf("%s", got)
	}
}

// fromBusctl makes objects of what busctl --json prints.
func fromBusctl(t *testing.T, raw any) any {
	t.Helper()
	m, ok := raw.(map[string]any)
	if !ok {
		return raw
	}
	if kind, ok := m["type"].(string); ok && len(m) == 2 {
		if kind != "a{sv}" {
			return m["data"]
		}
		all := bus.Properties{}
		for k, v := range m["data"].(map[string]any) {
			all[k] = fromBusctl(t, v)
		}
		return all
	}
	return m
}

func TestRecordedModemsAreUnderstood(t *testing.T) {
	dir := filepath.Join(fixtureTree(t), "encoder", "modemmanager")
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Skip(err)
	}
	var expected map[string][]struct {
		Path    string
		State   float64
		Reason  float64  `json:"failed_reason"`
		Percent *float64 `json:"signal_percent"`
		Mask    int      `json:"access_technologies_mask"`
		Reg     *int     `json:"registration"`
		Roaming bool
		Missing bool `json:"sim_missing"`
		Signal  map[string]map[string]float64
	}
	if err := json.Unmarshal(data, &expected); err != nil || len(expected) == 0 {
		t.Fatal(err)
	}
	for file, modems := range expected {
		var given struct {
			Data []map[string]map[string]map[string]any
		}
		text, err := os.ReadFile(filepath.Join(dir, file+".json"))
		if err == nil {
			err = json.Unmarshal(text, &given)
		}
		if err != nil {
			t.Fatal(file, err)
		}
		objects := bus.Objects{}
		for path, interfaces := range given.Data[0] {
			objects[path] = map[string]bus.Properties{}
			for iface, properties := range interfaces {
				objects[path][iface] = bus.Properties{}
				for name, v := range properties {
					objects[path][iface][name] = fromBusctl(t, v)
				}
			}
		}
		bit := func(b bool) float64 {
			if b {
				return 1
			}
			return 0
		}
		for _, e := range modems {
			samples, err := newModems().read(bus.Objects{e.Path: objects[e.Path]}, time.Now())
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			got := map[string]float64{}
			for _, s := range samples {
				got[s.Name] = s.Value
				if s.Name == "modem.info" && strings.Contains(s.Tags, `"technology":"lte"`) != (e.Mask>>14 == 1) {
					t.Errorf("%s: %s", file, s.Tags)
				}
			}
			want := map[string]float64{"modem.state": e.State, "modem.failed_reason": e.Reason, "modem.sim_missing": bit(e.Missing), "modem.info": 1}
			if e.Reg != nil {
				want["modem.registered"], want["modem.roaming"] = bit(*e.Reg == 1 || *e.Reg == 5), bit(e.Roaming)
			}
			if e.Percent != nil {
				want["modem.signal_percent"] = *e.Percent
			}
			for _, technology := range []string{"nr5g", "lte", "umts", "gsm"} {
				for key, v := range e.Signal[technology] {
					want["modem."+map[string]string{"rsrp": "rsrp_dbm", "rsrq": "rsrq_db", "snr": "sinr_db", "rssi": "rssi_dbm"}[key]] = v
				}
				if len(e.Signal[technology]) > 0 {
					break
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s %s: -want +got:\n%s", file, e.Path, d)
			}
		}
	}
}
