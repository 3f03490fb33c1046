package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/punchlab/punchlab/"

// A rule forbids imports to some packages. Patterns are import paths below the module; "x/..." is x and everything
// below. Other modules and the standard library are named in full.
type rule struct {
	from   []string
	forbid []string
	except []string
	why    string
}

var cores = []string{"lab/nat", "lab/link", "lab/fabric", "lab/sim", "lab/packet", "lab/capture/pcapng", "lab/capture/tap", "impl/core", "impl/wire", "impl/media", "impl/uplink", "impl/classify", "impl/self", "impl/session", "impl/punch", "impl/pairing", "impl/rendezvous", "impl/camera", "impl/viewer"}

var rules = []rule{{
	from:   []string{"impl/..."},
	forbid: []string{"lab/...", "reports/...", "scenarios/...", "topologies/..."},
	why:    "the implementation runs without the lab, and is one system under test among several",
}, {
	from:   []string{"lab", "lab/netns/...", "lab/packet", "lab/nat", "lab/probe", "lab/netfilter", "lab/link", "lab/fabric", "lab/live", "lab/sim", "lab/portmap", "lab/capture/...", "lab/record", "lab/stats"},
	forbid: []string{"impl/..."},
	why:    "below lab/stack the lab knows no system under test",
}, {
	from:   cores,
	forbid: []string{"net", "os", "log", "log/slog", "math/rand", "crypto/rand"},
	why:    "a core has no I/O and no randomness of its own: packets, time and seeds are arguments",
}, {
	from:   []string{"reports/..."},
	forbid: []string{"lab/...", "impl/..."},
	except: []string{"lab/record", "lab/stats", "lab/gate", "lab/certify"}, // certify judges results, and is as pure
	why:    "a report is a pure function of records; it never runs anything",
}, {
	from:   []string{"lab/gate"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/...", "topologies/...", "net", "os/exec", "math/rand"},
	except: []string{"lab/record", "lab/stats", "lab/internal/spell"},
	why:    "a gate is a pure function of records; scenarios, reports and the command line ask it, and it asks nobody",
}, {
	from:   []string{"lab/fabric"},
	forbid: []string{"lab/..."},
	except: []string{"lab/link", "lab/packet", "lab/nat"},
	why:    "the fabric is pure: it routes and impairs bytes",
}, {
	from:   []string{"lab/nat"},
	forbid: []string{"lab/...", "topologies/...", "scenarios/..."},
	except: []string{"lab/packet"},
	why:    "a table rewrites headers, and knows nothing of links, nets or devices",
}, {
	from:   []string{"lab/link", "lab/packet", "lab/stats", "lab/capture/pcapng"},
	forbid: []string{"lab/...", "topologies/...", "scenarios/..."},
	why:    "vocabulary, mathematics and formats stand at the bottom",
}, {
	from:   []string{"lab/capture/..."},
	forbid: []string{"lab", "lab/live", "lab/netfilter", "lab/netns/...", "lab/portmap", "lab/stack", "lab/runner", "lab/punchlab", "reports/...", "topologies/...", "scenarios/..."},
	why:    "a capture is read without a lab: from a file, and by a fabric in virtual time",
}, {
	from:   []string{"lab/live", "lab/netfilter", "lab/probe", "lab/portmap"},
	forbid: []string{"lab", "lab/stack", "lab/runner", "lab/punchlab", "lab/record", "topologies/...", "scenarios/..."},
	why:    "engines stand below the lab that wires them together",
}, {
	from:   []string{"lab"},
	forbid: []string{"lab/stack", "lab/runner", "lab/punchlab", "topologies/...", "scenarios/...", "reports/..."},
	why:    "a lab is given a topology; it does not load files or run scenarios",
}, {
	from:   []string{"lab/sim"},
	forbid: []string{"lab/..."},
	except: []string{"lab", "lab/fabric", "lab/link", "lab/packet"},
	why:    "virtual time has no namespaces, devices or processes",
}, {
	from:   []string{"lab/stack"},
	forbid: []string{"lab/runner", "lab/punchlab", "reports/..."},
	why:    "a system under test does not know who tries it",
}, {
	from:   []string{"lab/runner"},
	forbid: []string{"reports/...", "lab/punchlab"},
	why:    "a runner writes records; it never judges or draws them",
}, {
	from:   []string{"lab/work"},
	forbid: []string{"lab/punchlab", "reports/...", "impl/..."},
	why:    "a queue hands out trials and takes records in; it neither judges them nor knows a system under test",
}, {
	from:   []string{"lab", "lab/stack", "lab/runner", "lab/record", "lab/stats", "reports/...", "scenarios/...", "topologies/..."},
	forbid: []string{"lab/work"},
	why:    "a run does not know that it is spread over machines",
}, {
	from:   []string{"impl/...", "lab", "lab/stack", "lab/runner", "lab/experiment", "lab/gate", "lab/work", "lab/punchlab", "reports", "scenarios"},
	forbid: []string{"lab/mutants/..."},
	why:    "faults are seeded from outside: no release binary has any, or knows how",
}, {
	from:   []string{"lab/attack"},
	forbid: []string{"lab/...", "reports/...", "scenarios/...", "topologies/..."},
	except: []string{"lab", "lab/packet", "lab/internal/sniff"},
	why:    "an attack is a program on a lab's host: it speaks the bundled protocol, and knows no trial",
}, {
	from:   []string{"lab/attack/soak"},
	forbid: []string{"lab/...", "reports/...", "scenarios/..."},
	except: []string{"lab", "lab/live", "lab/packet", "lab/internal/sniff", "lab/attack", "lab/certify", "lab/stats"},
	why:    "a soak brings a lab up and attacks what is bundled; of the suite it has the arithmetic of claims alone",
}, {
	from:   []string{"lab", "lab/sim", "lab/stack", "lab/runner", "lab/record", "lab/stats", "reports/..."},
	forbid: []string{"lab/attack/..."},
	why:    "who is attacked does not know by whom",
}, {
	from:   []string{"lab/certify", "lab/certify/evidence"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/...", "net", "os/exec", "math/rand"},
	except: []string{"lab", "lab/record", "lab/stats", "lab/certify", "lab/certify/evidence"},
	why:    "what a camera is held to, and the proof of it, are read without a lab: a second party judges the same results offline",
}, {
	from:   []string{"lab/certify/plug"},
	forbid: []string{"impl/...", "lab/certify", "lab/stack", "lab/runner", "lab/punchlab", "topologies/...", "scenarios/...", "reports/..."},
	why:    "a black box is plugged into a lab; who judges it, and which protocol it may speak, is no business of the cable's",
}, {
	from:   []string{"lab/certify/contain"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/...", "topologies/..."},
	except: []string{"lab"},
	why:    "a cage knows the host that it stands on, not who is in it, nor what is made of its report",
}, {
	from:   []string{"lab/certify/tape"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/...", "topologies/..."},
	except: []string{"lab", "lab/internal/sniff", "lab/packet", "lab/capture", "lab/capture/pcapng", "lab/stats"},
	why:    "a tape is asked about packets: it knows no case, no protocol and no program",
}, {
	from:   []string{"lab/certify/stage"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/...", "topologies/..."},
	except: []string{"lab", "lab/live", "lab/netns", "lab/capture", "lab/certify", "lab/certify/contain", "lab/certify/plug", "lab/certify/tape", "impl/media", "impl/scratch", "topologies"},
	why:    "a stage is any vendor's: of the bundled implementation it has the clip alone (and the temporary folder's custom)",
}, {
	from:   []string{"lab/certify/cases"},
	forbid: []string{"lab/...", "impl/...", "reports/...", "scenarios/..."},
	except: []string{"lab", "lab/attack", "lab/certify", "lab/certify/stage", "lab/certify/tape", "lab/stats", "lab/internal/sniff", "lab/packet", "lab/capture", "lab/nat", "lab/link", "impl/label", "impl/identity", "impl/wire", "impl/media"},
	why:    "a procedure judges packets by what a stage shows it: of the bundled implementation it knows what an attacker may know, its formats",
}, {
	from:   []string{"lab/certify/suite"},
	forbid: []string{"impl/...", "lab/certify/cases", "lab/runner", "lab/stack", "lab/punchlab", "scenarios/..."},
	why:    "a suite runs what it is given: which cases there are, and how they are found out, is others' to say",
}, {
	from:   []string{"impl/...", "lab", "lab/attack", "lab/certify", "lab/certify/evidence", "lab/certify/contain", "lab/certify/plug", "lab/certify/tape", "lab/certify/stage", "lab/certify/cases", "reports/..."},
	forbid: []string{"lab/certify/suite"},
	why:    "who is asked does not know what is made of the answers",
}, {
	from:   []string{"lab/certify/evidence"},
	forbid: []string{"lab", "lab/certify", "lab/record", "lab/stats", "topologies/...", "net/http", "crypto/rand"},
	why:    "evidence is checked years later by whoever holds the folder and the keys: its format stands on no other",
}}

func TestImports(t *testing.T) {
	pkgs := load(t)
	for _, r := range rules {
		for pkg, files := range pkgs {
			if !matchAny(r.from, pkg) {
				continue
			}
			for name, f := range files {
				for _, spec := range f.Imports {
					imp := strings.TrimPrefix(strings.Trim(spec.Path.Value, `"`), module)
					if imp != pkg && matchAny(r.forbid, imp) && !matchAny(r.except, imp) {
						t.Errorf("%s imports %s: %s", name, imp, r.why)
					}
				}
			}
		}
	}
}

// Clock functions that a core must not call.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}

func TestCoresHaveNoClock(t *testing.T) {
	for pkg, files := range load(t) {
		if !slices.Contains(cores, pkg) {
			continue
		}
		for name, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
					t.Errorf("%s calls time.%s: a core's time is an argument, so that the simulation can move it", name, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestEveryPackageIsDescribed(t *testing.T) {
	for pkg, files := range load(t) {
		longest := 0
		for _, f := range files {
			longest = max(longest, len(strings.TrimSpace(f.Doc.Text())))
		}
		if longest < 80 {
			t.Errorf("%s has no package comment worth the name (%d characters): say what it is about, and draw it", pkg, longest)
		}
	}
}

func TestRulesNameRealPackages(t *testing.T) {
	pkgs := load(t)
	for _, r := range rules {
		for _, p := range slices.Concat(r.from, r.except) {
			found := slices.ContainsFunc(keys(pkgs), func(pkg string) bool { return match(p, pkg) })
			if !found {
				t.Errorf("a rule names %s, which does not exist (%s)", p, r.why)
			}
		}
	}
}

// load parses every package's files, without its tests, keyed by the path below the module.
func load(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pkgs := map[string]map[string]*ast.File{}
	fset := token.NewFileSet()
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "out" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		if pkgs[pkg] == nil {
			pkgs[pkg] = map[string]*ast.File{}
		}
		pkgs[pkg][name] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("found only %d packages below %s", len(pkgs), root)
	}
	return pkgs
}

func keys[V any](m map[string]V) (ks []string) {
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

func matchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

func match(pattern, pkg string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pkg == pattern
}
