package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The packages whose types judge the dashboards, from the npm registry.
var schemaPackages = []string{"@grafana/schema@12.3.0", "typescript@5.9.3"}

// TestDashboardsHaveTheFormThatGrafanaReads: the types of Grafana's own schema
// know every key of them, and miss none.
func TestDashboardsHaveTheFormThatGrafanaReads(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	npm, err := exec.LookPath("npm")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("npm is not installed, and Grafana's schema cannot be had without it")
		}
		t.Skip("npm is not installed: the form of the dashboards is not judged")
	}
	dir := t.TempDir()
	install := exec.CommandContext(ctx, npm, append([]string{"install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir}, schemaPackages...)...)
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("fetch %q: %v\n%s", schemaPackages, err, out)
		}
		t.Skipf("fetch %q: %v", schemaPackages, err)
	}
	source, err := os.ReadFile("testdata/grafana/check.ts")
	if err != nil {
		t.Fatal(err)
	}
	for file := range dashboards(t) {
		text, err := os.ReadFile(filepath.Join("../docker/grafana/dashboards", file))
		if err != nil {
			t.Fatal(err)
		}
		source = fmt.Appendf(source, "check(%s);\n", text)
	}
	path := filepath.Join(dir, "check.ts")
	if err := os.WriteFile(path, source, 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/.bin/tsc"),
		"--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext", "--target", "es2022", path)
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
