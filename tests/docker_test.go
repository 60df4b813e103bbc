package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/taniwha3/thugshells/shared/config"
)

const composePath = "../docker/docker-compose.yml"

// A service of the stack, as far as it is checked here:
// https://github.com/compose-spec/compose-spec/blob/main/05-services.md
type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	User        string
	Ports       []string
	Volumes     []string
	Command     []string
	Profiles    []string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	NetworkMode string   `yaml:"network_mode"`
	Logging     struct{ Options map[string]string }
	Healthcheck map[string]any
}

func services(t *testing.T) map[string]service {
	t.Helper()
	text, err := os.ReadFile(composePath)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) == 0 {
		t.Fatal("no services")
	}
	return file.Services
}

func TestNoContainerMayDoMoreThanItMust(t *testing.T) {
	for name, s := range services(t) {
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: wants a read-only root, no capabilities and no new privileges", name)
		}
		if s.MemLimit == "" || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s: wants bounds on memory and logs", name)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is published to every network", name, p)
			}
		}
		if tag := regexp.MustCompile(`^\S+:v?\d+\.\d+\.\d+$`); s.Build.Dockerfile == "" && !tag.MatchString(s.Image) {
			t.Errorf("%s: image %q is not pinned to a version", name, s.Image)
		}
		if name != "victoriametrics" && s.User == "" && s.Build.Dockerfile == "" {
			t.Errorf("%s: runs as whoever its image says", name)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, "/") || strings.HasPrefix(from, ".") {
				if !strings.HasSuffix(v, ":ro") {
					t.Errorf("%s: may write to %s of the machine", name, from)
				}
				if _, err := os.Stat(filepath.Join("../docker", from)); strings.HasPrefix(from, ".") && err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestTheStackKeepsThePromisesOfTheBoards(t *testing.T) {
	all := services(t)
	vm := all["victoriametrics"]
	for _, flag := range []string{"-dedup.minScrapeInterval=1ms", "-retentionPeriod=90d"} {
		if !slices.Contains(vm.Command, flag) {
			t.Errorf("VictoriaMetrics runs without %s", flag)
		}
	}
	if vm.Healthcheck == nil {
		t.Error("VictoriaMetrics has no health check")
	}
	cfg, err := config.Load("../docker/board.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if days := cfg.Remote.ServerRetention.Hours() / 24; days != 90 {
		t.Errorf("the board believes that the server keeps %v days", days)
	}
	var board []string
	for name, s := range all {
		if slices.Contains(s.Profiles, "board") {
			board = append(board, name)
			if !slices.Contains(s.Volumes, "./board.yaml:/etc/belabox-metrics/config.yaml:ro") {
				t.Errorf("%s: has another configuration", name)
			}
		}
	}
	slices.Sort(board)
	if want := []string{"metrics-collector", "metrics-health", "metrics-shipper"}; !slices.Equal(board, want) {
		t.Errorf("profile board has %q, want %q", board, want)
	}
	if all["metrics-collector"].NetworkMode != "host" {
		t.Error("the collector would see the interfaces of its container")
	}
	if !slices.Contains(all["metrics-health"].Volumes, "metrics-data:/var/lib/belabox-metrics:ro") {
		t.Error("health may write to the database")
	}
}

// TestDockerfilesFitTheTree: what they copy exists, the compiler is that of
// go.mod, and nothing in them needs a newer builder or a download of its own.
func TestDockerfilesFitTheTree(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))[1]
	files, err := filepath.Glob("../docker/Dockerfile*")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".dockerignore") {
			continue
		}
		seen++
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), " golang:"+version+"-bookworm ") {
			t.Errorf("%s: builds with another Go than %s", file, version)
		}
		if strings.Contains(string(text), "# syntax=") || strings.Contains(string(text), "--mount=") {
			t.Errorf("%s: docker-compose 1.29 cannot build it", file)
		}
		if !regexp.MustCompile(`(?m)^USER 65532:65532$`).Match(text) {
			t.Errorf("%s: does not say who it runs as", file)
		}
		if strings.Contains(string(text), "go build") || !strings.Contains(string(text), "make ") {
			t.Errorf("%s: builds past the Makefile, which has the tags and flags", file)
		}
		for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(string(text), -1) {
			for from := range strings.FieldsSeq(m[1]) {
				if _, err := os.Stat(filepath.Join("..", from)); err != nil {
					t.Errorf("%s: COPY %s: %v", file, from, err)
				}
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d Dockerfiles, want 2", seen)
	}
}

// TestDockerfilesCopyAllThatIsBuilt takes what each copies into a folder of its own
// and asks the go command for every package that its make builds there.
func TestDockerfilesCopyAllThatIsBuilt(t *testing.T) {
	for _, file := range []string{"../docker/Dockerfile", "../docker/Dockerfile.receiver"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		in := func(program string, args ...string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), program, args...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %s %q: %v\n%s", file, program, args, err, out)
			}
			return string(out)
		}
		for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) (\S+)$`).FindAllStringSubmatch(string(text), -1) {
			for from := range strings.FieldsSeq(m[1]) {
				to := filepath.Join(dir, m[2])
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					t.Fatal(err)
				}
				path, err := filepath.Abs(filepath.Join("..", from))
				if err != nil {
					t.Fatal(err)
				}
				in("cp", "-r", path, to)
			}
		}
		targets := regexp.MustCompile(`\bmake ((?:[a-z]+ )+)`).FindStringSubmatch(string(text))
		if targets == nil {
			t.Fatalf("%s: no make", file)
		}
		plan := in("make", append([]string{"-n"}, strings.Fields(targets[1])...)...)
		packages := regexp.MustCompile(` (\./(?:cmd|docker)/\S+)`).FindAllStringSubmatch(plan, -1)
		if len(packages) < 2 {
			t.Fatalf("%s builds %q", file, packages)
		}
		args := []string{"list", "-deps"}
		for _, p := range packages {
			args = append(args, p[1])
		}
		in("go", args...)
	}
}

// TestComposeTakesTheFile asks whatever compose is installed.
func TestComposeTakesTheFile(t *testing.T) {
	asked := 0
	for _, compose := range [][]string{{"docker-compose"}, {"docker", "compose"}} {
		program, err := exec.LookPath(compose[0])
		if err != nil || exec.Command(program, append(compose[1:], "version")...).Run() != nil {
			continue
		}
		asked++
		out, err := exec.Command(program, append(compose[1:], "-f", composePath, "--profile", "board", "config", "-q")...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", strings.Join(compose, " "), err, out)
		}
	}
	if asked == 0 {
		t.Skip("no compose is installed (Debian package docker-compose)")
	}
}
