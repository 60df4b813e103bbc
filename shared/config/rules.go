package config

import "path/filepath"

// relate checks the rules about two keys. A rule is skipped if one of its keys has a fault
// already.
func (w *walker) relate(c Config) {
	r, h := c.Remote, c.Health
	w.ordered("remote.chunk_size", r.ChunkSize <= r.BatchSize, r.ChunkSize, "remote.batch_size", r.BatchSize)
	w.ordered("remote.retry.initial_backoff", r.Retry.InitialBackoff <= r.Retry.MaxBackoff, short(r.Retry.InitialBackoff),
		"remote.retry.max_backoff", short(r.Retry.MaxBackoff))
	w.ordered("health.degraded_threshold.pending_metrics", h.DegradedThreshold.PendingMetrics <= h.ErrorThreshold.PendingMetrics,
		h.DegradedThreshold.PendingMetrics, "health.error_threshold.pending_metrics", h.ErrorThreshold.PendingMetrics)
	degraded, failed := c.UploadAge()
	w.ordered("health.degraded_threshold.upload_age_seconds", degraded <= failed, int64(degraded.Seconds()),
		"health.error_threshold.upload_age_seconds", int64(failed.Seconds()))

	if (r.ClientCert == "") != (r.ClientKey == "") {
		key, other := "remote.client_cert", "client_key"
		if r.ClientCert == "" {
			key, other = "remote.client_key", "client_cert"
		}
		w.rule(key, "want %s beside it", other)
	}
	if len(r.Pins) == 1 && !w.bad["remote.pins"] && !w.bad["remote.pins[0]"] {
		w.rule("remote.pins", "want two or more, so that a key can be replaced, got one")
	}
	if (r.BasicAuth.Username == "") != (r.BasicAuth.PasswordFile == "") && !w.bad["remote.basic_auth.username"] &&
		!w.bad["remote.basic_auth.password_file"] {
		key, other := "remote.basic_auth.username", "password_file"
		if r.BasicAuth.Username == "" {
			key, other = "remote.basic_auth.password_file", "username"
		}
		w.rule(key, "want %s beside it", other)
	}
	if r.TokenFile != "" && r.BasicAuth.Username != "" {
		w.rule("remote.token_file", "want either this or remote.basic_auth")
	}

	// Log lines written into the database would destroy it.
	db := filepath.Clean(c.Storage.Path)
	switch filepath.Clean(c.Logging.Output) {
	case db, db + "-wal", db + "-shm", db + "-journal":
		if !w.bad["storage.path"] {
			w.rule("logging.output", "want stdout, stderr or the path of a log file, got a file of the database")
		}
	}
}

// ordered reports a key that is greater than another, under whichever of the
// two the file sets.
func (w *walker) ordered(less string, ok bool, lessValue any, more string, moreValue any) {
	if ok || w.bad[less] || w.bad[more] {
		return
	}
	if w.lines[less] == 0 && w.lines[more] != 0 {
		w.rule(more, "want at least %s, which is %v, got %v", less, lessValue, moreValue)
		return
	}
	w.rule(less, "want at most %s, which is %v, got %v", more, moreValue, lessValue)
}
