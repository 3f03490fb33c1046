package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// GateFormats lists what RenderGate can write: for a terminal, a GitHub step summary, a CI system's list of tests, a program,
// GitHub's annotations of a pull request, and benchstat.
var GateFormats = []string{"text", "md", "junit", "json", "annotations", "benchfmt"}

// RenderGate writes a verdict in one of GateFormats. color is for format text alone.
func RenderGate(w io.Writer, v *gate.Verdict, format string, color bool) error {
	var b []byte
	var err error
	switch format {
	case "text":
		b = gateText(v, color)
	case "md":
		b = gateMarkdown(v)
	case "junit":
		b, err = gateJUnit(v)
	case "json":
		b, err = indentJSON(v)
	case "annotations":
		b = gateAnnotations(v)
	case "benchfmt":
		b = gateBenchfmt(v)
	default:
		return unknownFormat("gate", format, GateFormats)
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("render gate as %s: %w", format, err)
	}
	return nil
}

func unknownFormat(what, format string, formats []string) error {
	return fmt.Errorf("render %s: unknown format %q: use %s", what, format, strings.Join(formats, ", "))
}

// rank orders decisions, the worst first.
func rank(d gate.Decision) int {
	return slices.Index([]gate.Decision{gate.Fail, gate.Undecided, gate.Pass}, d)
}
