package document_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/topologies/document"
)

// node is the value of a document that has one.
func node(t *testing.T, value string) (*document.Document, document.Node) {
	t.Helper()
	d, err := document.Parse("x", []byte("v: "+value+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return d, d.Root().Get("v")
}

// A number without a unit is the schema's to refuse, where it wants text.
func TestUnits(t *testing.T) {
	for kind, values := range map[string]map[string]any{
		"rate": {
			"13.6mbit": 13_600_000, "500kbit": 500_000, "1gbit": 1_000_000_000, "1bit": 1, "1.5Kbit": 1500, "2Mbit": 2_000_000, "0.1Gbit": 100_000_000,
			"unlimited": 0, "": 0, strings.Repeat("9", 400) + "gbit": 1 << 60,
			"13.6": 0, "13.6mbps": nil, "-1mbit": nil, "1 mbit": nil, "1tbit": nil, "1e6bit": nil, "0bit": nil, "0.9bit": nil, ".5mbit": nil, "1MBit": nil,
		},
		"bytes": {
			"1500B": 1500, "64kB": 64_000, "64KiB": 65_536, "1.5MB": 1_500_000, "1MiB": 1 << 20, "0B": 0, strings.Repeat("9", 400) + "MiB": 1 << 60,
			"64": 0, "64kb": nil, "64KB": nil, "-1B": nil, "64kbit": nil, "10GB": nil,
		},
		"probability": {
			"0.5%": 0.005, "0.1%": 0.001, "0.01%": 0.0001, "100%": 1.0, "7%": 0.07, "0.005": 0.005, "1": 1.0, "-1": -1.0, "2": 2.0, "1e-3": 0.001, "1.5e-10": 1.5e-10,
			"50 %": nil, "half": nil, "-1%": nil, "'%'": nil, "1e3": nil,
		},
	} {
		for text, want := range values {
			d, n := node(t, text)
			var got any
			switch kind {
			case "rate":
				got = int(n.Rate())
			case "bytes":
				got = n.Bytes()
			default:
				got = n.Probability()
			}
			if want == nil {
				if err := d.Err(); err == nil || !strings.HasPrefix(err.Error(), "x:1:4: v: ") || !strings.Contains(err.Error(), "write") {
					t.Errorf("%s %.20q is %v, error %v", kind, text, got, err)
				}
				continue
			}
			if err := d.Err(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s %.20q is %v, want %v (%v)", kind, text, got, want, err)
			}
		}
	}
}
