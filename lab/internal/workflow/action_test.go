package workflow

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const actions = "../../../.ci/action/"

func read(t *testing.T, name string) *File {
	t.Helper()
	f, err := Read(actions + name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCommandsOfTheAction lists them: a flag that they gain must be one that lab/punchlab knows, which its own test checks.
func TestCommandsOfTheAction(t *testing.T) {
	for name, want := range map[string][]string{
		"action.yml": {
			"doctor",
			"run $SCENARIO $ENGINE $SEED $OUT/run: --engine --seed --out --trials --set --threshold",
			"report $OUT/run md: --format",
			"gate $BASELINE $OUT/run json $OUT/gate.json: --baseline --alpha --paired --allow --format --out",
			"gate $BASELINE $OUT/run md: --baseline --alpha --paired --allow --format",
			"gate $BASELINE $OUT/run annotations: --baseline --alpha --paired --allow --format",
			"gate $BASELINE $OUT/run junit $OUT/gate.junit.xml: --baseline --alpha --paired --allow --format --out",
		},
		"example.yml": {
			"run nat-matrix netfilter $RUNNER_TEMP/candidate/punchlab out/ab: --engine --ab --out", "trend history/* md: --format", "trend history/* html trend.html: --format --out",
		},
	} {
		var got []string
		for _, c := range read(t, name).Commands("punchlab") {
			s := strings.Join(c.Words, " ")
			if len(c.Flags) > 0 {
				s += ": " + strings.Join(c.Flags, " ")
			}
			got = append(got, s)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestExampleGivesKnownInputs: GitHub warns of an unknown input and goes on without it.
func TestExampleGivesKnownInputs(t *testing.T) {
	inputs := read(t, "action.yml").Inputs
	used := 0
	for _, s := range read(t, "example.yml").Steps() {
		if s.Uses != "./.ci/action" {
			continue
		}
		used++
		for k := range s.With {
			if _, ok := inputs[k]; !ok {
				t.Errorf("step %s gives %q, which the action does not take", s.Title(), k)
			}
		}
	}
	if used != 2 {
		t.Errorf("%d steps use the action", used)
	}
	for name, in := range inputs {
		if in.Description == "" {
			t.Errorf("input %s is not described", name)
		}
	}
}

// TestNoInputIsCode: what a pull request can choose must not be pasted into a script.
func TestNoInputIsCode(t *testing.T) {
	for _, name := range []string{"action.yml", "example.yml"} {
		for _, s := range read(t, name).Steps() {
			if strings.Contains(s.Run, "${{") {
				t.Errorf("%s: step %s pastes an expression into its script: pass it as env", name, s.Title())
			}
		}
	}
}

// fake stands for punchlab: it notes its words, and exits as FAKE_RUN and FAKE_GATE say.
const fake = `#!/bin/bash
printf '%s|' "$@" >> "$FAKE_LOG"; echo >> "$FAKE_LOG"
case $1 in report) mkdir -p "$2"; echo report > "$2/report.md" ;; run) exit ${FAKE_RUN:-0} ;; gate) echo "verdict"; exit ${FAKE_GATE:-0} ;; esac
`

// act runs the action's own scripts in their order, as GitHub would with the given inputs, and returns the first exit
// code but 0, the outputs and the calls of punchlab.
func act(t *testing.T, inputs map[string]string, env ...string) (code int, outputs map[string]string, calls string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "punchlab"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	f := read(t, "action.yml")
	outputs = map[string]string{}
	log, out := filepath.Join(dir, "log"), filepath.Join(dir, "output")
	for _, s := range f.Runs.Steps {
		if s.Run == "" || slices.Contains([]string{"Build punchlab", "Allow namespaces without root"}, s.Name) {
			continue
		}
		if s.Name == "Gate" && inputs["baseline"] == "" || code != 0 {
			continue
		}
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = dir
		cmd.Env = append(env, "PATH="+dir+":"+os.Getenv("PATH"), "FAKE_LOG="+log, "GITHUB_OUTPUT="+out,
			"GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary"))
		for k, v := range s.Env {
			cmd.Env = append(cmd.Env, k+"="+expand(f, inputs, outputs, v))
		}
		text, err := cmd.CombinedOutput()
		if err != nil {
			code = cmd.ProcessState.ExitCode()
			t.Logf("%s: %v: %s", s.Title(), err, text)
		}
		b, _ := os.ReadFile(out)
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.Contains(k, ".") {
				outputs[s.ID+"."+k] = v
			}
		}
		os.Remove(out)
	}
	b, _ := os.ReadFile(log)
	return code, outputs, string(b)
}

// expand replaces the only expressions that the action's env has: an input, and another step's output.
func expand(f *File, inputs, outputs map[string]string, v string) string {
	name := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(v, "${{"), "}}"))
	if in, ok := strings.CutPrefix(name, "inputs."); ok {
		if v, ok := inputs[in]; ok {
			return v
		}
		return f.Inputs[in].Default
	}
	step, key, _ := strings.Cut(strings.TrimPrefix(name, "steps."), ".outputs.")
	return outputs[step+"."+key]
}

func TestActionDecides(t *testing.T) {
	for name, c := range map[string]struct {
		inputs   map[string]string
		env      []string
		code     int
		decision string
	}{
		"pass":                     {map[string]string{"baseline": "b"}, nil, 0, "pass"},
		"fail":                     {map[string]string{"baseline": "b"}, []string{"FAKE_GATE=1"}, 1, "fail"},
		"undecided":                {map[string]string{"baseline": "b"}, []string{"FAKE_GATE=2"}, 2, "undecided"},
		"undecided, warned of":     {map[string]string{"baseline": "b", "undecided": "warn"}, []string{"FAKE_GATE=2"}, 0, "undecided"},
		"unlike runs":              {map[string]string{"baseline": "b"}, []string{"FAKE_GATE=64"}, 64, ""},
		"the lab broke":            {map[string]string{"baseline": "b"}, []string{"FAKE_RUN=70"}, 70, ""},
		"threshold failed":         {map[string]string{"baseline": "b"}, []string{"FAKE_RUN=1"}, 1, "pass"},
		"fail beats undecided":     {map[string]string{"baseline": "b", "undecided": "warn"}, []string{"FAKE_RUN=2", "FAKE_GATE=1"}, 1, "fail"},
		"no baseline":              {nil, nil, 0, ""},
		"no baseline, no decision": {nil, []string{"FAKE_RUN=2"}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, outputs, calls := act(t, c.inputs, c.env...)
			if code != c.code || outputs["gate.decision"] != c.decision {
				t.Errorf("exit %d, decision %q; want %d, %q\n%s", code, outputs["gate.decision"], c.code, c.decision, calls)
			}
		})
	}
}

// TestActionPassesInputsWhole: lines become flags, and nothing in them is run or split.
func TestActionPassesInputsWhole(t *testing.T) {
	_, outputs, calls := act(t, map[string]string{
		"scenario": "a b.yaml", "trials": "50", "set": "link=lte,lan\n\nstrategy=$(touch x) `y`;",
		"thresholds": `direct_rate >= 0.99 where oracle == "direct"`,
		"baseline":   "b'.jsonl", "allow": "cpu.model\nkernel\n", "alpha": "0.01", "paired": "true", "out": "o o",
	})
	want := `run|a b.yaml|--engine|sim|--seed|1|--out|o o/run|--trials|50|--set|link=lte,lan|--set|` +
		"strategy=$(touch x) `y`;" + `|--threshold|direct_rate >= 0.99 where oracle == "direct"|
gate|--baseline|b'.jsonl|o o/run|--alpha|0.01|--paired|--allow|cpu.model|--allow|kernel|--format|json|--out|o o/gate.json|
`
	if !strings.HasPrefix(calls, want) {
		t.Errorf("calls:\n%swant:\n%s", calls, want)
	}
	if outputs["run.run"] != "o o/run" || outputs["gate.verdict"] != "o o/gate.json" {
		t.Errorf("outputs: %v", outputs)
	}
}
