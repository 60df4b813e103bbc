package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// maxFields bounds a struct: with more it is several things.
const maxFields = 14

// wide are structs with more fields that mirror something with as many: rows, the
// configuration, answers of the health endpoint. Nothing else belongs here.
var wide = map[string]string{
	"config.Remote":   "the configuration's keys",
	"health.Uploader": "the keys of an answer of the health endpoint",
	"status.Row":      "the columns of the table status",
}

func TestNoStructIsSeveralThings(t *testing.T) {
	met := map[string]bool{}
	for _, root := range []string{"../cmd", "../shared"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				shape, ok := spec.Type.(*ast.StructType)
				if !ok {
					return true
				}
				fields := 0
				for _, f := range shape.Fields.List {
					fields += max(1, len(f.Names))
				}
				name := file.Name.Name + "." + spec.Name.Name
				if fields <= maxFields {
					return true
				}
				if met[name] = true; wide[name] == "" {
					t.Errorf("%s: %s has %d fields, at most %d: split it", path, name, fields, maxFields)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range wide {
		if !met[name] {
			t.Errorf("%s is not wide any more: strike it from the list", name)
		}
	}
}
