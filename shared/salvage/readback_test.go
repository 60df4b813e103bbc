package salvage

import (
	"database/sql"
	"fmt"
	"net/url"
)

// readNames returns the identities of the series.
func readNames(path string) (map[int64]string, error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query("SELECT id, metric_name || ' ' || device_id || ' ' || tags || ' ' || value_type FROM series")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := map[int64]string{}
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, err
		}
		names[id] = name
	}
	return names, rows.Err()
}

func open(path string) (*sql.DB, error) {
	return sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_busy_timeout=5000")
}

func execute(path string, statements ...string) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// readRows returns all samples.
func readRows(path string) (map[key]string, error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query("SELECT timestamp_ms, series_id, coalesce(value, '-'), coalesce(value_text, '-'), coalesce(session, '-'), uploaded, priority FROM samples")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[key]string{}
	for rows.Next() {
		var k key
		var value, text, session, state, priority string
		if err := rows.Scan(&k.at, &k.series, &value, &text, &session, &state, &priority); err != nil {
			return nil, err
		}
		all[k] = value + " " + text + " " + session + " " + state + " " + priority
	}
	return all, rows.Err()
}
