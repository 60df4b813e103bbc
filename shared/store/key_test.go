package store

import (
	"path/filepath"
	"testing"
)

func TestKeysAreTheSameInGoAndInSQL(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for _, c := range [][2]int64{{0, 1}, {1_700_000_000_123, 42}, {MaxTimeMs, MaxSeries}} {
		var key, timeMs, series int64
		err := db.read.QueryRow("SELECT "+sqlKey+" FROM (SELECT ? AS timestamp_ms, ? AS series_id)", c[0], c[1]).Scan(&key)
		if err != nil || key != Key(c[0], c[1]) {
			t.Errorf("%v is %d in SQL, %d in Go; %v", c, key, Key(c[0], c[1]), err)
		}
		err = db.read.QueryRow("SELECT "+sqlSplit+" FROM (SELECT ? AS last_uploaded_id)", key).Scan(&timeMs, &series)
		if err != nil || timeMs != c[0] || series != c[1] {
			t.Errorf("%d is %d, %d in SQL, want %v; %v", key, timeMs, series, c, err)
		}
		for _, query := range []string{"INSERT INTO series VALUES (?2, ?1, '', '', '', 0)", "INSERT INTO samples (timestamp_ms, series_id, value) VALUES (?1, ?2, 1)"} {
			if _, err := db.write.Exec(query, c[0], c[1]); err != nil {
				t.Fatal(err)
			}
		}
		var id int64
		if err := db.read.QueryRow("SELECT id FROM metrics WHERE timestamp_ms = ?", c[0]).Scan(&id); err != nil || id != key {
			t.Errorf("the view metrics has id %d, want %d; %v", id, key, err)
		}
	}
}
