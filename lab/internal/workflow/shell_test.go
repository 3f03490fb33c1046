package workflow

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommands(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   []Command
	}{
		"nothing": {"echo punchlab gate\n# punchlab run\n", nil},
		"words": {`punchlab run "a b" --seed=1 --out "$OUT/x"`,
			[]Command{{Words: []string{"run", "a b", "$OUT/x"}, Flags: []string{"--seed", "--out"}}}},
		"lists": {"true && punchlab a; punchlab b || punchlab c | tee x",
			[]Command{{Words: []string{"a"}}, {Words: []string{"b"}}, {Words: []string{"c"}}}},
		"conditions": {"if punchlab doctor; then punchlab run; fi", []Command{{Words: []string{"doctor"}}, {Words: []string{"run"}}}},
		"continued":  {"punchlab gate \\\n  --alpha 1 # and so on\n", []Command{{Words: []string{"gate", "1"}, Flags: []string{"--alpha"}}}},
		"redirected": {"punchlab gate --json > punchlab 2>&1", []Command{{Words: []string{"gate"}, Flags: []string{"--json"}}}},
		"here": {"while read -r l; do punchlab x; done <<< \"$SET\"\npunchlab y 2>>log z",
			[]Command{{Words: []string{"x"}}, {Words: []string{"y", "z"}}}},
		"array": {"f=()\nif x; then f+=(--set \"$a\"); fi\npunchlab run \"${f[@]}\"",
			[]Command{{Words: []string{"run"}, Flags: []string{"--set"}}}},
		"quoted flags": {`punchlab run '--no' -- - "\"--set" ${A:-"b"} $(date -u)`,
			[]Command{{Words: []string{"run", "--no", "--", "-", `\"--set`, `${A:-"b"}`, "$(date -u)"}}}},
		"another's": {"./punchlab-old a; time=punchlab b; punchlab", []Command{{}}},
	} {
		if diff := cmp.Diff(c.want, Commands(c.script, "punchlab")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzCommands(f *testing.F) {
	f.Add("f+=(--a \"$b\")\npunchlab run \"${f[@]}\" $(x ${y}) '")
	f.Fuzz(func(t *testing.T, script string) { Commands(script, "punchlab") })
}
