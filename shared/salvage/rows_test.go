package salvage

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/taniwha3/thugshells/shared/store"
)

// A table that the store makes and a salvage does not know would be lost with all
// its rows in the first damaged file. Add it to tables, or say in passedOver that
// its rows need not be kept.
func TestEveryTableOfTheStoreIsSalvaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	if err := store.Create(t.Context(), path, store.Options{Device: "d"}); err != nil {
		t.Fatal(err)
	}
	db, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT t.name, c.name, c.type, c."notnull" OR c.pk > 0, t.wr, lower(c.type) = 'integer' AND c.pk = 1 AND NOT t.wr
		FROM pragma_table_list AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' AND t.schema = 'main' AND t.name <> 'sqlite_schema'
		ORDER BY t.name, c.cid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	type made struct {
		columns []column
		rows    bool
	}
	found := map[string]*made{}
	for rows.Next() {
		var table, name, declared string
		var filled, withoutRows, rowid bool
		if err := rows.Scan(&table, &name, &declared, &filled, &withoutRows, &rowid); err != nil {
			t.Fatal(err)
		}
		if found[table] == nil {
			found[table] = &made{rows: !withoutRows}
		}
		c := column{name: name, kinds: map[string]kind{"INTEGER": whole, "TEXT": text, "REAL": whole | float}[declared], rowid: rowid}
		if !filled || rowid {
			c.kinds |= null
		}
		if rowid {
			c.kinds = null // the record itself does not have it
		}
		found[table].columns = append(found[table].columns, c)
	}
	if rows.Err() != nil || len(found) < 10 {
		t.Fatalf("%d tables, %v", len(found), rows.Err())
	}
	for name, is := range found {
		if slices.Contains(passedOver, name) {
			continue
		}
		at := slices.IndexFunc(tables, func(one *table) bool { return one.name == name && one.schema == store.SchemaVersion })
		if at < 0 {
			t.Errorf("a salvage loses the table %s with all its rows: add it to tables in rows.go", name)
			continue
		}
		known := tables[at]
		if known.rows != is.rows || len(known.columns) != len(is.columns) {
			t.Errorf("%s has %d columns in the store, %d here (with row numbers: %v, %v)", name, len(is.columns), len(known.columns), is.rows, known.rows)
			continue
		}
		for i, c := range is.columns {
			k := known.columns[i]
			if k.name != c.name || k.kinds != c.kinds || k.rowid != c.rowid {
				t.Errorf("%s: column %d is %+v in the store, %+v here", name, i, c, k)
			}
		}
	}
	for _, one := range tables {
		if one.schema == store.SchemaVersion && found[one.name] == nil {
			t.Errorf("the store does not make %s", one.name)
		}
	}
	names, err := db.Query("SELECT name FROM ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	for names.Next() {
		var r record
		r.columns = 2
		r.values[0], r.values[1] = value{kind: text}, value{kind: whole}
		if err := names.Scan(&r.values[0].b); err != nil {
			t.Fatal(err)
		}
		if got := tableOf(&r, false, true); got == nil || got.name != "ledger" {
			t.Errorf("the entry %s of the ledger is not taken for one", r.values[0].b)
		}
	}
}

// A row that fits to two tables is passed over: so no two tables may have rows of
// one shape.
func TestNoTwoTablesHaveRowsOfOneShape(t *testing.T) {
	for i, a := range tables {
		for _, b := range tables[:i] {
			if a.rows != b.rows || len(a.columns) != len(b.columns) {
				continue
			}
			alike := true
			for c := range a.columns {
				alike = alike && a.columns[c].kinds&b.columns[c].kinds != 0
			}
			if alike {
				t.Errorf("%s of schema %d and %s of schema %d have rows of one shape", a.name, a.schema, b.name, b.schema)
			}
		}
	}
}
