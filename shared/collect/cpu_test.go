package collect

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

// usage runs one collector over the readings and returns what the last gives,
// one name{tags} value a line.
func usage(t *testing.T, readings ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	c := newCPU(hostfs.Roots{Proc: dir})
	var out string
	var err error
	for _, reading := range readings {
		hosttest.Write(t, filepath.Join(dir, "stat"), reading)
		now := time.Now()
		samples, e := c.Collect(now)
		out, err = strings.ReplaceAll(strings.ReplaceAll(text(t, samples, now), "cpu.", ""), `"`, ""), e
	}
	return out, err
}

func TestCPUFollowsItsRules(t *testing.T) {
	for _, tt := range []struct {
		name     string
		readings []string
		want     string
		failed   int
	}{
		{
			"waiting for I/O is idle, steal is busy, guest is not counted twice",
			[]string{"cpu0 100 0 100 1000 50 0 0 0 90 0\n", "cpu0 110 0 105 1070 60 0 0 5 99 0\n"},
			"usage_percent{core:all} 20\nusage_percent{core:0} 20\niowait_percent{core:all} 10\nsteal_percent{core:all} 5\n", 0,
		},
		{
			"the sum is over the cores of both readings, whatever the line cpu says",
			[]string{
				"cpu 999 0 0 0 0 0 0 0\ncpu0 100 0 0 1000 0 0 0 0\ncpu3 100 0 0 1000 0 0 0 0\n",
				"cpu 5 0 0 0 0 0 0 0\ncpu0 150 0 0 1050 0 0 0 0\ncpu7 5000 0 0 0 0 0 0 0\n",
			},
			"usage_percent{core:all} 50\nusage_percent{core:0} 50\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"a core that comes back gives nothing at first",
			[]string{"cpu0 0 0 0 100 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0\n", "cpu0 0 0 0 200 0 0 0 0\n", "cpu0 100 0 0 200 0 0 0 0\ncpu1 900 0 0 100 0 0 0 0\n"},
			"usage_percent{core:all} 100\nusage_percent{core:0} 100\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"a field that goes back counts as no time",
			[]string{"cpu0 100 0 0 1000 50 0 0 0\n", "cpu0 150 0 0 1050 40 0 0 0\n"},
			"usage_percent{core:all} 50\nusage_percent{core:0} 50\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"a core that goes back as a whole is left out once",
			[]string{"cpu0 100 0 0 1000 0 0 0 0\ncpu1 100 0 0 1000 0 0 0 0\n", "cpu0 1 0 0 10 0 0 0 0\ncpu1 125 0 0 1075 0 0 0 0\n"},
			"usage_percent{core:all} 25\nusage_percent{core:1} 25\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 1,
		},
		{
			"and counts from its new base",
			[]string{"cpu0 100 0 0 1000 0 0 0 0\n", "cpu0 1 0 0 10 0 0 0 0\n", "cpu0 2 0 0 19 0 0 0 0\n"},
			"usage_percent{core:all} 10\nusage_percent{core:0} 10\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"without lines of cores the line cpu serves",
			[]string{"cpu  100 0 0 1000 0 0 0 0\nintr 1\n", "cpu  140 0 0 1060 0 0 0 0\nintr 2\n"},
			"usage_percent{core:all} 40\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"but not after a reading that had them",
			[]string{"cpu  100 0 0 1000 0 0 0 0\ncpu0 50 0 0 500 0 0 0 0\n", "cpu  140 0 0 1060 0 0 0 0\n"},
			"", 0,
		},
		{
			"nor while they are garbled",
			[]string{"cpu  100 0 0 1000 0 0 0 0\n", "cpu  140 0 0 1060 0 0 0 0\ncpu0 x\n"},
			"", 1,
		},
		{
			"a kernel with seven counts has no steal",
			[]string{"cpu0 100 0 0 1000 0 0 0\n", "cpu0 125 0 0 1075 0 0 0\n"},
			"usage_percent{core:all} 25\nusage_percent{core:0} 25\niowait_percent{core:all} 0\n", 0,
		},
		{
			"a garbled line is that core's error only",
			[]string{"cpu0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0\n", "cpu0 1 0 0 O 0 0 0 0\ncpu1 1 0 0 3 0 0 0 0\n"},
			"usage_percent{core:all} 25\nusage_percent{core:1} 25\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 1,
		},
		{
			"a core listed twice counts once",
			[]string{"cpu0 0 0 0 0 0 0 0 0\n", "cpu0 1 0 0 3 0 0 0 0\ncpu0 9 0 0 3 0 0 0 0\n"},
			"usage_percent{core:all} 25\nusage_percent{core:0} 25\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 1,
		},
		{
			"gaps, blank lines and a line over 64 KiB are normal",
			[]string{
				"cpu0 0 0 0 0 0 0 0 0 0 0\n\ncpu12 0 0 0 0 0 0 0 0 0 0\n",
				"intr " + strings.Repeat("0 ", 50_000) + "\n\ncpu12 1 0 0 1 0 0 0 0 0 0\n\ncpu0 1 0 0 3 0 0 0 0 0 0",
			},
			"usage_percent{core:all} 33.333\nusage_percent{core:0} 25\nusage_percent{core:12} 50\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
		{
			"counts that do not fit 64 bits together are no reading",
			[]string{"cpu0 0 0 0 0 0 0 0 0\n", "cpu0 18446744073709551615 2 0 0 0 0 0 0\n"},
			"", 1,
		},
		{"no time passed", []string{"cpu0 1 0 0 9 0 0 0 0\n", "cpu0 1 0 0 9 0 0 0 0\n"}, "", 0},
		{"a first reading", []string{"cpu0 1 0 0 9 0 0 0 0\n"}, "", 0},
		{
			"a reading that failed is bridged",
			[]string{"cpu0 0 0 0 0 0 0 0 0\n", "", "cpu0 1 0 0 3 0 0 0 0\n"},
			"usage_percent{core:all} 25\nusage_percent{core:0} 25\niowait_percent{core:all} 0\nsteal_percent{core:all} 0\n", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := usage(t, tt.readings...)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if Failed(err) != tt.failed {
				t.Errorf("%d failed, want %d: %v", Failed(err), tt.failed, err)
			}
			if tt.want == "" && tt.failed == 0 && !errors.Is(err, ErrNoData) {
				t.Errorf("%v, want ErrNoData", err)
			}
		})
	}
}
