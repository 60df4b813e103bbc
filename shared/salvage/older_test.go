package salvage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const schema2 = `CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL, metric_name TEXT NOT NULL,
	metric_value REAL, value_text TEXT, value_type INTEGER DEFAULT 0, tags TEXT, session_id TEXT, device_id TEXT,
	uploaded INTEGER DEFAULT 0, priority INTEGER DEFAULT 2, dedup_key TEXT NOT NULL);
	CREATE TABLE sessions (id TEXT PRIMARY KEY, start_time INTEGER NOT NULL, end_time INTEGER, status TEXT, metadata TEXT);
	CREATE TABLE upload_checkpoints (id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT NOT NULL, chunk_index INTEGER NOT NULL,
	last_uploaded_id INTEGER, last_uploaded_timestamp INTEGER, upload_time INTEGER, metrics_count INTEGER);
	INSERT INTO sessions VALUES ('s1', 900, 1900, 'completed', '{}');
	WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
	INSERT INTO metrics (timestamp_ms, metric_name, metric_value, tags, session_id, device_id, uploaded, dedup_key)
	SELECT 1700000000000 + i * 1000, 'cpu.usage_percent', i, '{"core":"0"}', 's1', 'd', i % 2, i FROM n;`

const schema1 = `CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL,
	metric_name TEXT NOT NULL, metric_value REAL, device_id TEXT);
	WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
	INSERT INTO metrics (timestamp_ms, metric_name, metric_value) SELECT 1700000000000 + i * 1000, 'cpu.temperature', i FROM n;`

func TestFilesOfEarlierSchemasAndOfAnyPageSizeAreSalvaged(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for schema, statements := range map[int]string{1: schema1, 2: schema2} {
		for _, size := range []int{512, 1024, 4096, 65536} {
			t.Run(fmt.Sprint("schema ", schema, ", pages of ", size), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "old.db")
				if err := execute(path, fmt.Sprintf("PRAGMA page_size = %d; %s", size, statements)); err != nil {
					t.Fatal(err)
				}
				file, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for name, c := range map[string]struct {
					file  []byte
					least int
				}{
					"sound":         {file, 5000},
					"no first page": {zero(slices.Clone(file), 0, size), 5000},
					"cut to half":   {file[:len(file)/2/size*size], 2000},
				} {
					if size == 65536 && name == "cut to half" {
						continue // it has three pages
					}
					report, to := mustRun(t, c.file, nil, Known{Device: "board-1"})
					rows, err := readRows(to)
					if err != nil {
						t.Fatal(err)
					}
					for k, is := range rows {
						if want := fmt.Sprintf("%d ", (k.at-1_700_000_000_000)/1000); !strings.HasPrefix(is, want) {
							t.Errorf("%s: %v is %q, want %q", name, k, is, want)
						}
					}
					if len(rows) < c.least || report.Schema != schema || report.Lost != nil {
						t.Errorf("%s: %d rows, want %d; %+v", name, len(rows), c.least, report)
					}
					checkSound(t, to)
				}
			})
		}
	}
}

func TestAPresentFileOfAnyPageSizeIsSalvagedWithoutItsFirstPage(t *testing.T) {
	s := mustStock(t)
	dir := t.TempDir()
	for _, size := range []int{512, 2048, 8192, 65536} {
		from, to := filepath.Join(dir, fmt.Sprint(size, ".db")), filepath.Join(dir, fmt.Sprint(size, "-same.db"))
		if err := os.WriteFile(from, s.file, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := execute(from, fmt.Sprintf("PRAGMA journal_mode = DELETE; PRAGMA page_size = %d; VACUUM INTO '%s'", size, to)); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(to)
		if err != nil || len(file)%size != 0 {
			t.Fatal(len(file), err)
		}
		report, to := mustRun(t, zero(file, 0, size), nil, Known{Device: "board-1"})
		rows, err := readRows(to)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) < len(s.rows)*98/100 {
			t.Errorf("pages of %d: %d rows of %d, %+v", size, len(rows), len(s.rows), report)
		}
	}
}
