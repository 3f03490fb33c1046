package stack

import (
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// A command that reads nothing, or says no end of things, fails the trial within its time, with a cause that people can read.
func TestStubbornCommands(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	for _, tt := range []struct{ name, document, cause string }{
		{"deaf", `
name: deaf
commands:
  - {name: camera, host: camera, run: [sleep, "60"]}
  - {name: viewer, host: viewer, run: [sleep, "60"]}
request: {command: viewer, line: '{{printf "%200000d" 1}}'}
marks: {success: {log: never, from: viewer}}
`, "viewer does not read its request"},
		{"talkative", `
name: talkative
prepare: [[sh, -c, 'yes a line of some length | head -c 3000000; echo the end; exit 1']]
commands:
  - {name: viewer, host: viewer, run: [sleep, "60"]}
request: {command: viewer}
marks: {success: {log: never, from: viewer}}
`, "the end"},
	} {
		begun := time.Now()
		o := tryExternal(t, parseExternal(t, tt.document), l, Trial{Timeout: 300 * time.Millisecond})
		if o.Outcome != record.Failed || !strings.Contains(o.Cause, tt.cause) || len(o.Cause) > 2*maxEnding || time.Since(begun) > 40*time.Second {
			t.Errorf("%s: outcome %s after %v: %d bytes: %.300s", tt.name, o.Outcome, time.Since(begun), len(o.Cause), o.Cause)
		}
	}
}
