package inspect

import (
	"database/sql"
	"testing"
)

// mustSQL runs a statement on a file with an ordinary SQLite connection.
func mustSQL(t testing.TB, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}
