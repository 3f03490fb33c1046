package wire_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// constants are those of some packages of impl, read from their source: the
// unexported ones of the roles count too.
type constants struct {
	exprs map[string]ast.Expr // by package.name
	names []string
}

func readConstants(t *testing.T, packages ...string) *constants {
	t.Helper()
	c := &constants{exprs: map[string]ast.Expr{}}
	for _, p := range packages {
		files, err := filepath.Glob(filepath.Join("..", p, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("package %s: %d files, %v", p, len(files), err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				c.read(t, p, f)
			}
		}
	}
	slices.Sort(c.names)
	return c
}

func (c *constants) read(t *testing.T, pkg, file string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, n := range v.Names {
				if i < len(v.Values) && n.Name != "_" {
					c.exprs[pkg+"."+n.Name] = v.Values[i]
					c.names = append(c.names, pkg+"."+n.Name)
				}
			}
		}
	}
}

var units = map[string]time.Duration{"Nanosecond": 1, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
	"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// value computes a constant's value, and whether it is made of units of time.
func (c *constants) value(pkg string, e ast.Expr) (v constant.Value, timed bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), false
	case *ast.ParenExpr:
		return c.value(pkg, e.X)
	case *ast.Ident:
		if x, ok := c.exprs[pkg+"."+e.Name]; ok {
			return c.value(pkg, x)
		}
	case *ast.SelectorExpr:
		from, _ := e.X.(*ast.Ident)
		if from != nil && from.Name == "time" {
			return constant.MakeInt64(int64(units[e.Sel.Name])), true
		}
		if from != nil && c.exprs[from.Name+"."+e.Sel.Name] != nil {
			return c.value(from.Name, c.exprs[from.Name+"."+e.Sel.Name])
		}
	case *ast.BinaryExpr:
		x, tx := c.value(pkg, e.X)
		y, ty := c.value(pkg, e.Y)
		if x.Kind() != constant.Int || y.Kind() != constant.Int {
			return constant.MakeUnknown(), false
		}
		if e.Op == token.SHL || e.Op == token.SHR {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n)), tx
		}
		op := e.Op
		if op == token.QUO {
			op = token.QUO_ASSIGN // integer division
		}
		return constant.BinaryOp(x, op, y), tx || ty
	}
	return constant.MakeUnknown(), false
}

// timers lists the durations.
func (c *constants) timers() (out []string) {
	for _, n := range c.names {
		pkg, _, _ := strings.Cut(n, ".")
		if v, timed := c.value(pkg, c.exprs[n]); timed {
			ns, _ := constant.Int64Val(v)
			out = append(out, n+" = "+time.Duration(ns).String())
		}
	}
	return out
}

// notLimits are constants with tables of their own, and numbers of STUN's formats.
var notLimits = regexp.MustCompile(`\.(Type|Code|Flag|Op[A-Z]|Role[A-Z]|(Owner|Guest)$|State[A-Z]|FirstLocalCode|Profile|` +
	`EndpointIndependent$|Address(AndPort)?Dependent$|Ports[A-Z]|stun[A-Z]|change[A-Z])`)

// limits lists the exported numbers, and all of a rendezvous'.
func (c *constants) limits(packages ...string) (out []string) {
	for _, n := range c.names {
		pkg, name, _ := strings.Cut(n, ".")
		v, timed := c.value(pkg, c.exprs[n])
		if timed || v.Kind() != constant.Int || !ast.IsExported(name) && pkg != "rendezvous" ||
			notLimits.MatchString(n) || !slices.Contains(packages, pkg) {
			continue
		}
		u, _ := constant.Uint64Val(v)
		s := strconv.FormatUint(u, 10)
		if u >= 1<<32 && u&(u-1) == 0 {
			s = "2^" + strconv.Itoa(constant.BitLen(v)-1)
		}
		out = append(out, n+" = "+s)
	}
	return out
}
