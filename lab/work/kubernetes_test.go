package work_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/punchlab/punchlab/lab/internal/workflow"
	"github.com/punchlab/punchlab/lab/work"
)

// object is as much of a Kubernetes object as the test looks at.
type object struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		CompletionMode string `yaml:"completionMode"`
		Completions    int    `yaml:"completions"`
		Template       struct {
			Metadata struct {
				Labels map[string]string `yaml:"labels"`
			} `yaml:"metadata"`
			Spec pod `yaml:"spec"`
		} `yaml:"template"`
		VolumeClaimTemplates []object `yaml:"volumeClaimTemplates"`
	} `yaml:"spec"`
}

type pod struct {
	SecurityContext struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Name, Image   string
		Command, Args []string
		Env           []struct {
			Name, Value string
			ValueFrom   yaml.MapSlice `yaml:"valueFrom"`
		}
		SecurityContext struct {
			AllowPrivilegeEscalation *bool                 `yaml:"allowPrivilegeEscalation"`
			AppArmorProfile          struct{ Type string } `yaml:"appArmorProfile"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string `yaml:"name"`
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	} `yaml:"containers"`
	Volumes []struct {
		Name                  string
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
		HostPath struct{ Path, Type string } `yaml:"hostPath"`
	} `yaml:"volumes"`
}

// manifests reads the shipped manifests, by file.
func manifests(t *testing.T) map[string][]object {
	t.Helper()
	files, err := fs.Glob(work.Kubernetes, "kubernetes/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v: %v", files, err)
	}
	all := map[string][]object{}
	for _, name := range files {
		b, err := work.Kubernetes.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(b), "\n---\n") {
			var o object
			if err := yaml.Unmarshal([]byte(text), &o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[path.Base(name)] = append(all[path.Base(name)], o)
		}
	}
	return all
}

// commands are the calls of punchlab in a manifest.
func commands(os []object) (all []workflow.Command) {
	for _, o := range os {
		for _, c := range o.Spec.Template.Spec.Containers {
			script := strings.Join(c.Args, "\n")
			if len(c.Command) > 0 && c.Command[0] == "punchlab" {
				script = strings.Join(append(slices.Clone(c.Command), c.Args...), " ")
			}
			all = append(all, workflow.Commands(script, "punchlab")...)
		}
	}
	return all
}

// parseCLI reads the subcommands and the flags that the command line's source defines.
func parseCLI(t *testing.T) (subcommands, flags []string) {
	t.Helper()
	fset := token.NewFileSet()
	files, err := filepath.Glob("../punchlab/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no command line: %v", err)
	}
	text := func(e ast.Expr) string {
		if l, ok := e.(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(l.Value)
			return s
		}
		return ""
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Use" {
					name, _, _ := strings.Cut(text(n.Value), " ")
					subcommands = append(subcommands, name)
				}
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && strings.HasSuffix(s.Sel.Name, "Var") && len(n.Args) >= 3 {
					flags = append(flags, "--"+text(n.Args[1]))
				}
			}
			return true
		})
	}
	return subcommands, flags
}

// Every call of punchlab in the manifests has a subcommand and flags that there are, also where an environment variable stands for one.
func TestManifestsCallTheCommandLine(t *testing.T) {
	subcommands, flags := parseCLI(t)
	calls := map[string]int{}
	for name, objects := range manifests(t) {
		for _, c := range commands(objects) {
			sub := c.Words[0]
			calls[name+" "+sub]++
			if !slices.Contains(subcommands, sub) {
				t.Errorf("%s: there is no punchlab %s", name, sub)
			}
			for _, f := range c.Flags {
				if !slices.Contains(flags, f) {
					t.Errorf("%s: punchlab %s: there is no flag %s", name, sub, f)
				}
			}
		}
		for _, o := range objects {
			for _, c := range o.Spec.Template.Spec.Containers {
				for _, e := range c.Env {
					f, ours := strings.CutPrefix(e.Name, "PUNCHLAB_")
					if flag := "--" + strings.ToLower(strings.ReplaceAll(f, "_", "-")); ours && !slices.Contains(flags, flag) {
						t.Errorf("%s: %s stands for no flag", name, e.Name)
					}
				}
			}
		}
	}
	for _, want := range []string{"indexed-job.yaml run", "merge.yaml merge", "queue.yaml run", "queue.yaml worker"} {
		if calls[want] == 0 {
			t.Errorf("no call: %s, only %v", want, calls)
		}
	}
}

// What belongs together says the same on both sides, and only what runs trials has what they need of a node.
func TestManifestsHoldTogether(t *testing.T) {
	for name, objects := range manifests(t) {
		claims, names := map[string]bool{"punchlab-runs": name == "merge.yaml"}, map[string]bool{}
		images := map[string]bool{}
		for _, o := range objects {
			claims[o.Metadata.Name] = claims[o.Metadata.Name] || o.Kind == "PersistentVolumeClaim"
			names[o.Kind+"/"+o.Metadata.Name] = true
		}
		for _, o := range objects {
			p := o.Spec.Template.Spec
			if len(p.Containers) == 0 {
				continue
			}
			label := o.Spec.Template.Metadata.Labels["part"]
			if !p.SecurityContext.RunAsNonRoot || label == "" {
				t.Errorf("%s: %s runs as root, or has no label part", name, o.Metadata.Name)
			}
			trials, volumes := false, map[string]bool{}
			for _, v := range p.Volumes {
				volumes[v.Name] = true
				if c := v.PersistentVolumeClaim.ClaimName; c != "" && !claims[c] {
					t.Errorf("%s: %s wants the volume of a claim %s that is not there", name, o.Metadata.Name, c)
				}
				trials = trials || v.HostPath.Path == "/dev/net/tun" && v.HostPath.Type == "CharDevice"
			}
			for _, v := range o.Spec.VolumeClaimTemplates {
				volumes[v.Metadata.Name] = true
			}
			if want := label == "parts" || label == "worker"; trials != want || (p.SecurityContext.SeccompProfile.Type == "Unconfined") != want {
				t.Errorf("%s: %s has what trials need: %v, should: %v", name, o.Metadata.Name, trials, want)
			}
			for _, c := range p.Containers {
				if c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation {
					t.Errorf("%s: %s may escalate", name, o.Metadata.Name)
				}
				if (c.SecurityContext.AppArmorProfile.Type == "Unconfined") != trials {
					t.Errorf("%s: %s: AppArmor profile %q", name, o.Metadata.Name, c.SecurityContext.AppArmorProfile.Type)
				}
				for _, m := range c.VolumeMounts {
					if !volumes[m.Name] {
						t.Errorf("%s: %s mounts %s, which is not there", name, o.Metadata.Name, m.Name)
					}
				}
				for _, e := range c.Env {
					if e.Name == "PUNCHLAB_NATS" && (!strings.Contains(e.Value, "@punchlab-nats:4222") || !names["Service/punchlab-nats"]) {
						t.Errorf("%s: %s looks for NATS at %s", name, o.Metadata.Name, e.Value)
					}
				}
				if c.Name == "punchlab" {
					images[c.Image] = true
				}
			}
		}
		if len(images) != 1 {
			t.Errorf("%s: builds %v: workers refuse the run of another", name, images)
		}
	}
}

// The number of parts in --shard auto/N is the number of pods.
func TestIndexedJob(t *testing.T) {
	for _, o := range manifests(t)["indexed-job.yaml"] {
		if o.Kind != "Job" {
			continue
		}
		script := strings.Join(o.Spec.Template.Spec.Containers[0].Args, "")
		want := "--shard auto/" + strconv.Itoa(o.Spec.Completions) + " "
		if o.Spec.CompletionMode != "Indexed" || o.Spec.Completions < 2 || strings.Count(script, want) != 2 {
			t.Errorf("%d completions, mode %q: %s", o.Spec.Completions, o.Spec.CompletionMode, script)
		}
	}
}
