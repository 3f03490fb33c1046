package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// command is this test binary as punchlab.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "punchlab") // testscript goes by the name it is called with
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(link, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "HOME="+dir)
	return c
}

// punchlab runs it and returns its exit code and what it printed.
func punchlab(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := command(t, dir, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

const brokenTopology = `schema: punchlab/topology/1
name: broken
summary: a preset that does not exist
sites:
  - name: camera
    nat: ful-cone
    link: lan
    hosts: [{name: camera}]
  - name: viewer
    nat: symmetric
    link: lan
    hosts: [{name: viewer}]
public:
  - name: rendezvous
    link: lan
`

// killer is a scenario whose event has nobody to happen to.
const killer = `name: killer
summary: kills what is no program of its own
topology: two-homes
axes:
  strategy: [direct]
trials: 1
trial: {media: 0s, timeout: 3s}
events:
  - {on: requested, do: kill, host: viewer}
`

// badInput is refused with an exit code and a word on stderr.
var badInput = []struct {
	name   string
	args   []string
	code   int
	stderr string
}{
	{"no command is help", nil, 0, ``},
	{"unknown command", []string{"rnu"}, 64, `unknown command "rnu"`},
	{"unknown flag", []string{"run", "nat-matrix", "--trails", "3"}, 64, `unknown flag: --trails`},
	{"no scenario", []string{"run"}, 64, `requires at least 1 arg`},
	{"unknown scenario", []string{"run", "nat-matrx"}, 64, `nat-matrix`},
	{"unknown preset", []string{"run", "nat-matrix", "--set", "camera.nat=ful-cone"}, 64, `full-cone`},
	{"unknown axis", []string{"run", "nat-matrix", "--set", "camrea.nat=open"}, 64, `camera\.nat`},
	{"no value", []string{"run", "nat-matrix", "--set", "camera.nat"}, 64, `axis=value`},
	{"negative trials", []string{"run", "nat-matrix", "--trials", "-1"}, 64, `at least 1`},
	{"zero trials", []string{"run", "nat-matrix", "--trials", "0"}, 64, `at least 1`},
	{"unknown engine", []string{"run", "nat-matrix", "--engine", "netflter"}, 64, `netfilter`},
	{"engine that has no streams", []string{"run", "nat-matrix", "--engine", "sim", "--set", "strategy=tcp"}, 127, `sim`},
	{"engine that can't", []string{"run", "nat-matrix", "--set", "camera.nat=alg"}, 127, `site .camera.: .*ALG`},
	{"bad capture", []string{"run", "nat-matrix", "--pcap", "some"}, 64, `none, failed or all`},
	{"bad shard", []string{"run", "nat-matrix", "--shard", "3/2"}, 64, `i/n`},
	{"bad format", []string{"run", "nat-matrix", "--format", "pdf"}, 64, `html`},
	{"unwritable folder", []string{"run", "nat-matrix", "--out", "/proc/nowhere"}, 64, `folder`},
	{"nothing to resume", []string{"run", "nat-matrix", "--resume", "--out", "none"}, 64, `none`},
	{"no run to report", []string{"report", "none"}, 64, `none`},
	{"unknown host", []string{"exec", "two-homes", "camra", "--", "true"}, 64, `camera`},
	{"no command for exec", []string{"exec", "two-homes", "camera"}, 64, `HOST -- COMMAND`},
	{"unfinished group", []string{"exec", "two-homes", "camera", "--", "true", "---"}, 64, `---`},
	{"missing program", []string{"exec", "two-homes", "camera", "--", "no-such-program"}, 127, `no-such-program`},
	{"unwritable capture", []string{"exec", "two-homes", "--pcap", "none/x.pcapng", "camera", "--", "touch", "ran"}, 64, `--pcap: .*none/x\.pcapng`},
	{"nothing to kill", []string{"run", "killer.yaml"}, 127, `event 1, kill viewer: system bundled \(strategy direct\) has nothing`},
	{"no run to replay", []string{"replay", "none", "0/0"}, 64, `none is not the folder of a run`},
	{"negative width", []string{"replay", "none", "0/0", "--width", "-1"}, 64, `--width -1`},
	{"broken topology file", []string{"show", "broken.yaml"}, 64, `broken\.yaml:6:\d+: .*ful-cone.*full-cone`},
	{"unknown list", []string{"list", "nat"}, 64, `nats`},
}

func TestBadInputIsRefusedBeforeAnythingRuns(t *testing.T) {
	for _, tt := range badInput {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := map[string]string{"broken.yaml": brokenTopology, "killer.yaml": killer}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			code, _, stderr := punchlab(t, dir, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d; stderr:\n%s", code, tt.code, stderr)
			}
			if !regexp.MustCompile(tt.stderr).MatchString(stderr) {
				t.Errorf("stderr doesn't match %q:\n%s", tt.stderr, stderr)
			}
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) != len(files) {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
