package config

import (
	"fmt"
	"net/url"
	"strings"
)

// ImportPath is the path at which VictoriaMetrics, vmagent and a cluster's vminsert accept
// the JSON lines of samples: the end of remote.url.
const ImportPath = "/api/v1/import"

// Advice returns what -check has against a configuration that the daemons start
// with all the same: they collect and keep samples meanwhile.
func (c Config) Advice() []string {
	var advice []string
	if text := c.Remote.PathAdvice(); text != "" {
		advice = append(advice, text)
	}
	return append(advice, misread(c)...)
}

// PathAdvice returns a sentence that names the right path if remote.url has one
// at which no server accepts samples, and "" otherwise.
func (r Remote) PathAdvice() string {
	u, err := url.Parse(r.URL)
	if err != nil || r.AnyPath || strings.HasSuffix(u.Path, ImportPath) {
		return ""
	}
	right := url.URL{Scheme: u.Scheme, Host: u.Host, Path: ImportPath}
	if before, _, found := strings.Cut(u.Path, ImportPath); found {
		right.Path = before + ImportPath
	} else if tenant, ok := clusterPath(u.Path); ok {
		right.Path = tenant + ImportPath
	}
	has := "the path " + u.Path
	if u.Path == "" {
		has = "no path"
	}
	return fmt.Sprintf("remote.url: %s, but samples are accepted at %s; set remote.url to %s, or remote.any_path to true if a gateway rewrites the path",
		has, right.Path, right.String())
}

// clusterPath returns the start of a path of a cluster's vminsert, such as
// /insert/0/prometheus.
func clusterPath(path string) (start string, ok bool) {
	parts := strings.SplitN(path, "/", 5) // "", insert, tenant, prometheus, …
	if len(parts) < 3 || parts[1] != "insert" || parts[2] == "" {
		return "", false
	}
	return "/insert/" + parts[2] + "/prometheus", true
}
