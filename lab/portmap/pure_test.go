package portmap_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCoreIsPure: only the driver's files know sockets and clocks, so that a simulation can run the core in virtual time.
func TestCoreIsPure(t *testing.T) {
	drivers := []string{"server.go", "packetconn.go"}
	forbidden := []string{"net", "net/http", "os", "log", "log/slog", "context", "math/rand", "crypto/rand", "sync"}
	files, err := filepath.Glob("*.go")
	must(t, err)
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || slices.Contains(drivers, name) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		checked++
		for _, spec := range f.Imports {
			if path := strings.Trim(spec.Path.Value, `"`); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s: that belongs into %v", name, path, drivers)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer"}, s.Sel.Name) {
					t.Errorf("%s calls time.%s: time is an argument", name, s.Sel.Name)
				}
			}
			return true
		})
	}
	if checked < 8 {
		t.Errorf("only %d files were checked", checked)
	}
}
