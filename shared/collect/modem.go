package collect

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/bus"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	modemManager = "org.freedesktop.ModemManager1"
	maxModems    = 8
)

// modemCollector reads modems from ModemManager.
type modemCollector struct {
	address string // of the bus; "": the system's
	modems  choice
}

func newModems() *modemCollector { return &modemCollector{modems: choice{most: maxModems}} }

// Collect returns the state of each modem. The same objects have the numbers of the
// device, of the SIM and of the cell; none of them is used.
// Source: https://www.freedesktop.org/software/ModemManager/doc/latest/ModemManager/
func (c *modemCollector) Collect(now time.Time) ([]metric.Sample, error) {
	visit, err := bus.Connect(c.address)
	if err != nil {
		return nil, ofBus(err)
	}
	defer visit.Close()
	objects, err := visit.Managed(modemManager, "/org/freedesktop/ModemManager1")
	if err != nil {
		return nil, ofBus(err)
	}
	return c.read(objects, now)
}

// ofBus turns an error of the bus into one of a round.
func ofBus(err error) error {
	if errors.Is(err, bus.ErrAbsent) {
		return ErrNoData
	}
	return err
}

// identifier is ModemManager's name of a device: a hash of its kind and of where it is
// plugged in.
var identifier = regexp.MustCompile(`^[0-9a-f]{8}`)

func (c *modemCollector) read(objects bus.Objects, now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	found := map[string]modem{}
	for _, path := range slices.Sorted(maps.Keys(objects)) {
		of := objects[path]
		m := modem{device: of[modemManager+".Modem"], network: of[modemManager+".Modem.Modem3gpp"], signal: of[modemManager+".Modem.Signal"]}
		if m.device == nil {
			continue
		}
		id := identifier.FindString(m.device.Text("DeviceIdentifier"))
		if _, twice := found[id]; id == "" || twice {
			r.addf("read %s: no identifier of its own; modem skipped", path)
			continue
		}
		found[id] = m
	}
	for _, id := range c.modems.of(slices.Collect(maps.Keys(found))) {
		found[id].report(&r, id)
	}
	r.dropped("modem.status", &c.modems)
	return r.done()
}

// A modem is its properties. A modem that is locked or has no SIM has neither network nor
// signal.
type modem struct{ device, network, signal bus.Properties }

// The meanings of ModemManager's numbers (include/ModemManager/ModemManager-enums.h).
const (
	stateFailed     = -1
	stateRegistered = 8
	stateConnected  = 11
	simMissing      = 2
	portNet         = 2
)

func (m modem) report(r *reading, id string) {
	pairs := []string{"modem", id}
	if iface := m.iface(); iface != "" {
		pairs = append(pairs, "interface", iface)
	}
	tags := metric.Tags(pairs...)
	state, ok := m.device.Number("State")
	if !ok || state < stateFailed || state > stateConnected {
		r.addf("modem %s: a state of %v; modem skipped", id, m.device["State"])
		return
	}
	r.add("modem.state", tags, state)
	missing := 0.0
	if reason, ok := m.device.Number("StateFailedReason"); ok {
		r.add("modem.failed_reason", tags, reason)
		if state == stateFailed && reason == simMissing {
			missing = 1
		}
	}
	r.add("modem.sim_missing", tags, missing)
	m.addNetwork(r, tags)
	// Before it is registered there is no quality, and the property is 0.
	if quality := m.device.List("SignalQuality"); state >= stateRegistered && len(quality) > 0 {
		if percent, ok := bus.Number(quality[0]); ok && percent <= 100 {
			r.add("modem.signal_percent", tags, percent)
		} else {
			r.addf("modem %s: a quality of %v; value skipped", id, quality[0])
		}
	}
	m.addSignal(r, id, tags)
	r.add("modem.info", m.infoTags(pairs), 1)
}

// addNetwork adds whether the modem is registered: at home or roaming, with or without
// calls. A registration for messages only does not count.
func (m modem) addNetwork(r *reading, tags string) {
	registration, ok := m.network.Number("RegistrationState")
	if !ok {
		return
	}
	registered, roaming := 0.0, 0.0
	switch registration {
	case 1, 9:
		registered = 1
	case 5, 10:
		registered, roaming = 1, 1
	}
	r.add("modem.registered", tags, registered)
	r.add("modem.roaming", tags, roaming)
}

// addSignal adds the measurements of the newest technology that has them. ModemManager
// has them only if polling was requested.
func (m modem) addSignal(r *reading, id, tags string) {
	for _, technology := range []string{"Nr5g", "Lte", "Umts", "Gsm", "Evdo", "Cdma"} {
		values := m.signal.Map(technology)
		told := false
		for _, of := range []struct {
			key, name string
			low, high float64
		}{
			{"rsrp", "modem.rsrp_dbm", -200, 0},
			{"rsrq", "modem.rsrq_db", -60, 30},
			{"snr", "modem.sinr_db", -60, 60},
			{"rssi", "modem.rssi_dbm", -200, 0},
		} {
			v, ok := values.Number(of.key)
			if !ok {
				continue
			}
			told = true
			if !(v >= of.low && v <= of.high) {
				r.addf("modem %s: %s of %s is %v; value skipped", id, of.key, technology, v)
				continue
			}
			r.add(of.name, tags, v)
		}
		if told {
			return
		}
	}
}

// iface is the network interface of the modem, the first if it has several.
func (m modem) iface() string {
	for _, port := range m.device.List("Ports") {
		fields, _ := port.([]any)
		if len(fields) < 2 {
			continue
		}
		kind, _ := bus.Number(fields[1])
		if text, ok := fields[0].(string); ok && kind == portNet {
			if iface, err := name([]byte(text)); err == nil {
				return iface
			}
		}
	}
	return ""
}

// technologies are the bits of AccessTechnologies, the newest first.
var technologies = []struct {
	bit  uint
	name string
}{{15, "5gnr"}, {14, "lte"}, {9, "hspa+"}, {8, "hspa"}, {7, "hsupa"}, {6, "hsdpa"}, {5, "umts"}, {4, "edge"}, {3, "gprs"}, {1, "gsm"}}

// infoTags are the modem's model, operator and technology, as far as they are known.
func (m modem) infoTags(pairs []string) string {
	pairs = slices.Clone(pairs)
	for _, of := range []struct{ tag, value string }{
		{"model", m.device.Text("Model")}, {"operator", m.network.Text("OperatorName")}, {"technology", m.technology()},
	} {
		if value, err := name([]byte(strings.TrimSpace(of.value))); err == nil {
			pairs = append(pairs, of.tag, value)
		}
	}
	return metric.Tags(pairs...)
}

func (m modem) technology() string {
	mask, ok := m.device.Number("AccessTechnologies")
	if !ok || mask < 0 || mask > 1<<32 {
		return ""
	}
	for _, t := range technologies {
		if uint64(mask)&(1<<t.bit) != 0 {
			return t.name
		}
	}
	return ""
}
