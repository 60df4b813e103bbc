package config

import (
	"strings"
	"testing"
)

func TestAPathThatAcceptsNoSamplesIsReportedWithTheRightOne(t *testing.T) {
	const base = "http://server.example:8428"
	for _, path := range []string{
		"/api/v1/import", "/prometheus/api/v1/import", "/insert/0/prometheus/api/v1/import",
		"/insert/42:7/prometheus/api/v1/import", "/api/v1/import?extra_label=site=7",
	} {
		if got := (Remote{URL: base + path}).PathAdvice(); got != "" {
			t.Errorf("%s: %s", path, got)
		}
	}
	for path, right := range map[string]string{
		"":                                      base + "/api/v1/import",
		"/":                                     base + "/api/v1/import",
		"/health":                               base + "/api/v1/import",
		"/write":                                base + "/api/v1/import",
		"/api/v1/import/":                       base + "/api/v1/import",
		"/api/v1/import/prometheus":             base + "/api/v1/import",
		"/xapi/v1/importer":                     base + "/api/v1/import",
		"/proxy/api/v1/import/csv":              base + "/proxy/api/v1/import",
		"/insert/3/prometheus/api/v1/write":     base + "/insert/3/prometheus/api/v1/import",
		"/insert/3/prometheus":                  base + "/insert/3/prometheus/api/v1/import",
		"/insert/3":                             base + "/insert/3/prometheus/api/v1/import",
		"/api/v1/write?token=not-to-be-shown":   base + "/api/v1/import",
		"/API/V1/IMPORT":                        base + "/api/v1/import",
		"/select/3/prometheus/api/v1/import/no": base + "/select/3/prometheus/api/v1/import",
	} {
		got := (Remote{URL: base + path}).PathAdvice()
		if !strings.Contains(got, "set remote.url to "+right+", or ") || strings.Contains(got, "not-to-be-shown") {
			t.Errorf("%s: %s", path, got)
		}
		if got := (Remote{URL: base + path, AnyPath: true}).PathAdvice(); got != "" {
			t.Errorf("%s with any_path: %s", path, got)
		}
		c := Default()
		c.Remote.URL = base + path
		if all := c.Advice(); len(all) != 1 || all[0] != got {
			t.Errorf("%s: advice %q", path, all)
		}
	}
	if all := Default().Advice(); len(all) > 0 {
		t.Errorf("of the defaults: %q", all)
	}
}
