package status

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stored are the details as version 1.0 of each component wrote them, every key
// among them: testdata/NAME.json is a list.
func stored(t *testing.T, component string) []json.RawMessage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", component+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryStoredDetailIsReadWhole(t *testing.T) {
	check[Shipper](t, ShipperRow)
	check[Collector](t, CollectorRow)
	check[Storage](t, StorageRow)
	check[Clock](t, ClockRow)
	check[Skew](t, SkewRow)
	check[Damage](t, DamageRow)
}

// check reads each stored detail, and fails unless what is written again says
// the same: a key that the type does not have would be gone. Each key of the type
// must be among the stored ones.
func check[T Collector | Shipper | Storage | Clock | Skew | Damage](t *testing.T, component string) {
	t.Helper()
	seen := map[string]bool{}
	for _, text := range stored(t, component) {
		d, err := Detail[T](Row{Component: component, Detail: string(text)})
		if err != nil {
			t.Error(err)
		}
		var want, got map[string]any
		if err := errors.Join(json.Unmarshal(text, &want), json.Unmarshal([]byte(Text(d)), &got)); err != nil {
			t.Fatal(err)
		}
		for key := range want {
			seen[key] = true
		}
		for key, value := range got {
			// What is written always and was left out as long as it is empty.
			if _, ok := want[key]; !ok && reflect.ValueOf(value).IsZero() {
				delete(got, key)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: stored and read again (-stored +read)\n%s", component, diff)
		}
	}
	shape := reflect.TypeFor[T]()
	for field := range shape.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !seen[key] {
			t.Errorf("%s: no stored detail has the key %q", component, key)
		}
	}
}

func TestADetailOfOtherTypesIsReadAsFarAsItGoes(t *testing.T) {
	d, err := Detail[Shipper](Row{Component: ShipperRow, Detail: `{"outcome":7,"http_status":503,"budget_spent":"x","busy":true}`})
	if err == nil {
		t.Error("no word of it")
	}
	if want := (Shipper{HTTPStatus: 503, Busy: true}); !cmp.Equal(d, want) {
		t.Errorf("got %+v, want %+v", d, want)
	}
	for _, text := range []string{"", "null", "[]", `"x"`, "{", "{}x"} {
		if d, _ := Detail[Clock](Row{Detail: text}); d != (Clock{}) || d.IsTrusted() {
			t.Errorf("%q: %+v", text, d)
		}
	}
}

func TestAStatusRowContinuesAfterARestart(t *testing.T) {
	at := func(seconds int) Moment {
		return Moment{time.Unix(1e9+int64(seconds), 0), time.Duration(seconds) * time.Second}
	}
	old := NewComponent(Daemon{Name: "metrics-shipper", BootID: "a"}, ShipperRow, time.Second)
	old.Succeed(at(1), 5)
	old.Fail(at(2), errors.New(strings.Repeat("x", maxError-1)+"ü"), 1)
	old.Stop(at(3))
	row := old.Row()
	if row.State != Stopped || row.HeartbeatBootMs != 3000 || row.FailingSinceMs == 0 || row.Error != strings.Repeat("x", maxError-1) {
		t.Errorf("%+v", row)
	}
	for boot, want := range map[string]int64{"a": 1000, "b": -1} {
		c := NewComponent(Daemon{Name: "metrics-shipper", BootID: boot}, ShipperRow, time.Second)
		c.Restore(row)
		c.Succeed(Moment{}, 2)
		if got := c.Row(); got.Succeeded != 7 || got.Failed != 1 || got.State != Running || got.Error == "" {
			t.Errorf("%+v", got)
		}
		again := NewComponent(Daemon{BootID: boot}, ShipperRow, time.Second)
		again.Restore(row)
		if got := again.Row(); got.SuccessMs != row.SuccessMs || got.SuccessBootMs != want || got.FailingSinceMs != 0 {
			t.Errorf("boot %s: %+v", boot, got)
		}
	}
}

func TestReadingsAreNamedByTheirCollector(t *testing.T) {
	if name, ok := Reading(ReadingRow("cpu.usage")); name != "cpu.usage" || !ok {
		t.Error(name, ok)
	}
	for _, other := range []string{CollectorRow, "collector/", ShipperRow, ""} {
		if name, ok := Reading(other); ok {
			t.Errorf("%q is the reading %q", other, name)
		}
	}
}

func TestARowOfACollectorIsCompletedFromItsDaemons(t *testing.T) {
	daemon := Row{Component: CollectorRow, State: Running, StartedMs: 5, HeartbeatMs: 100_000, HeartbeatBootMs: 50_000, Detail: `{"readings":{"a":[10000,77],"b":[0,9],"c":[0,9]}}`}
	a := Row{Component: ReadingRow("a"), State: Running, StartedMs: 5, HeartbeatMs: 1, HeartbeatBootMs: 1, SuccessMs: 1, Succeeded: 3, Failed: 2}
	failing := Row{Component: ReadingRow("b"), State: Running, StartedMs: 5, HeartbeatMs: 1, FailingSinceMs: 1}
	earlier := Row{Component: ReadingRow("c"), State: Running, StartedMs: 4, HeartbeatMs: 1}
	rows := []Row{daemon, a, failing, earlier}
	RestoreReadings(rows)
	a.HeartbeatMs, a.HeartbeatBootMs, a.SuccessMs, a.SuccessBootMs, a.Succeeded = 90_000, 40_000, 90_000, 40_000, 77
	if diff := cmp.Diff([]Row{daemon, a, failing, earlier}, rows); diff != "" {
		t.Error(diff)
	}
}
