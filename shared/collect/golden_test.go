package collect

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixtures is where the repository's own trees are.
const fixtures = "../../tests/fixtures"

// TestTreesGiveTheirGoldenSamples runs all collectors but disk.usage and textfile,
// whose figures are this machine's, over every moment of every tree. What is compared
// is everything they return: each sample, and each error in its words.
func TestTreesGiveTheirGoldenSamples(t *testing.T) {
	trees, err := filepath.Glob(filepath.Join(fixtures, "*.txtar"))
	if err != nil || len(trees) == 0 {
		t.Fatalf("no trees in %s: %v", fixtures, err)
	}
	for _, tree := range trees {
		t.Run(strings.TrimSuffix(filepath.Base(tree), ".txtar"), func(t *testing.T) {
			dir := hosttest.Unpack(t, tree)
			host := filepath.Join(dir, "now")
			all := mustAll(t, hosttest.Roots(host))
			var out strings.Builder
			moments, err := filepath.Glob(filepath.Join(dir, "t[0-9]"))
			if err != nil || len(moments) == 0 {
				t.Fatalf("no moments in %s: %v", tree, err)
			}
			for i, moment := range moments {
				if i > 0 {
					if err := os.Remove(host); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(moment, host); err != nil {
					t.Fatal(err)
				}
				now := time.UnixMilli(1_790_000_000_000).Add(time.Duration(i) * 10 * time.Second)
				for _, c := range all {
					if c.Name == "disk.usage" || c.Name == "textfile" {
						continue
					}
					fmt.Fprintf(&out, "# %s %s\n", filepath.Base(moment), c.Name)
					samples, err := c.Collect(now)
					out.WriteString(text(t, samples, now))
					if err != nil {
						fmt.Fprintf(&out, "! %s\n", strings.ReplaceAll(strings.ReplaceAll(err.Error(), host, ""), "\n", "\n! "))
						fmt.Fprintf(&out, "! failed %d\n", Failed(err))
					}
				}
			}
			golden := strings.TrimSuffix(tree, ".txtar") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
				t.Errorf("-want +got (-update rewrites the golden file):\n%s", diff)
			}
		})
	}
}

// text writes samples as name{tags} value, one a line, in their order. Every
// one must be stamped now, have a value that can be stored, and be a series of
// its own.
func text(t *testing.T, samples []metric.Sample, now time.Time) string {
	t.Helper()
	var out strings.Builder
	seen := map[string]bool{}
	for _, s := range samples {
		if s.TimeMs != now.UnixMilli() {
			t.Errorf("%s%s is stamped %d, not %d", s.Name, s.Tags, s.TimeMs, now.UnixMilli())
		}
		if !metric.Finite(s.Value) || metric.Round(s.Value) != s.Value {
			t.Errorf("%s%s = %v is not finite and rounded", s.Name, s.Tags, s.Value)
		}
		if seen[s.Name+s.Tags] {
			t.Errorf("%s%s comes twice", s.Name, s.Tags)
		}
		seen[s.Name+s.Tags] = true
		fmt.Fprintf(&out, "%s%s %s\n", s.Name, s.Tags, strconv.FormatFloat(s.Value, 'f', -1, 64))
	}
	return out.String()
}

// mustAll makes the default collectors; textfiles are those in the directory
// textfile beside the roots.
func mustAll(t testing.TB, roots hostfs.Roots) []Scheduled {
	t.Helper()
	cfg := config.Default()
	for i := range cfg.Metrics { // beside the trees, and not this machine's
		switch m := &cfg.Metrics[i]; m.Name {
		case "stream.events":
			m.Config.Journal = filepath.Join(roots.Proc, "..", "journal")
		case "stream.links":
			m.Config.TmpDir = filepath.Join(roots.Proc, "..", "tmp")
		case "textfile":
			m.Config.Directory = filepath.Join(filepath.Dir(roots.Proc), "textfile")
		}
	}
	all, err := All(cfg, roots, "test")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCollectorsAndCatalogueNameTheSameMetrics runs every collector over trees
// that together have everything, and over this machine's filesystems.
func TestCollectorsAndCatalogueNameTheSameMetrics(t *testing.T) {
	dir := hosttest.Unpack(t, filepath.Join(fixtures, "orangepi5plus.txtar"))
	host := filepath.Join(dir, "now")
	if err := os.Symlink(filepath.Join(dir, "t0"), host); err != nil {
		t.Fatal(err)
	}
	hosttest.Write(t, filepath.Join(dir, "t0/proc/mounts"), "overlay / overlay rw 0 0\n")
	hosttest.Write(t, filepath.Join(dir, "t0/textfile/a.prom"), "# nothing\n")
	emitted := map[string]string{}
	s := newStage(t)
	s.dir, s.cfg.Journal = host, filepath.Join(host, "journal")
	s.relay(true)
	now := clockOf(t, time.Now(), true)
	s.log(s.at(now, time.Second, belaUI("hello")...))
	s.write("tmp/belacoder_br", "500000\n6000000\n")
	s.write(statsFile, stats(now.Wall.UnixMilli(), `{"conn_id":"0","rtt_ms":1,"nak_count":1,"weight_percent":1,"window":1,"in_flight":1,"bitrate_bps":1}`))
	all := mustAll(t, hosttest.Roots(host))
	for i := range 2 {
		for _, c := range all {
			samples, err := c.Collect(time.Now())
			if err != nil && (i > 0 && !c.Optional || !errors.Is(err, ErrNoData)) {
				t.Errorf("%s: %v", c.Name, err)
			}
			for _, s := range samples {
				emitted[s.Name] = c.Name
				if _, ok := metric.Lookup(s.Name); !ok {
					t.Errorf("%s emits %s, which is not in the catalogue", c.Name, s.Name)
				}
			}
		}
		advance(t, filepath.Join(dir, "t0/proc/stat"))
		s.log(s.at(now, 0, belaUI("SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms")...),
			s.at(now, 0, "_PID=1", "MESSAGE_ID="+idFailed, "UNIT=belaUI.service", "UNIT_RESULT=signal"),
			s.at(now, 0, "_PID=1", "MESSAGE_ID="+idExited, "UNIT=belaUI.service", "EXIT_CODE=killed", "EXIT_STATUS=9"),
			s.at(now, 0, "_PID=1", "MESSAGE_ID="+idRestart, "UNIT=belaUI.service"))
	}
	own := []string{"receiver.", "hdmi.", "modem.", "unit.restarts", "system.units", "collector.", "uploader.", "storage.", "time.", "process."}
	for _, e := range metric.Catalog {
		ours := slices.ContainsFunc(own, func(p string) bool { return strings.HasPrefix(e.Name, p) })
		if _, ok := emitted[e.Name]; !ours && !ok {
			t.Errorf("%s is in the catalogue and no collector emits it", e.Name)
		}
	}
}

// advance lets every core be busy for a hundred ticks.
func advance(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "cpu") {
			user, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			fields[1] = strconv.Itoa(user + 100)
			line = strings.Join(fields, " ") + "\n"
		}
		out.WriteString(line)
	}
	hosttest.Write(t, path, out.String())
}
