package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// The files and exit codes below are a contract: other programs are written against it. A key that is added here must be
// added to README.md's description too; a key that is renamed or removed breaks those programs.

// shape says what is wrong with a value of JSON, decoded with UseNumber.
type shape func(path string, v any) []string

// object has exactly these keys; those with a trailing ? may be absent.
func object(fields map[string]shape) shape {
	return func(path string, v any) (wrong []string) {
		m, ok := v.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want an object", path, v)}
		}
		for key, s := range fields {
			name, optional := strings.CutSuffix(key, "?")
			value, there := m[name]
			switch {
			case there:
				wrong = append(wrong, s(path+"."+name, value)...)
			case !optional:
				wrong = append(wrong, path+"."+name+" is missing")
			}
		}
		for key := range m {
			if fields[key] == nil && fields[key+"?"] == nil {
				wrong = append(wrong, path+"."+key+" is not in the contract")
			}
		}
		return wrong
	}
}

// every is an object or array whose values all have one shape.
func every(s shape) shape {
	return func(path string, v any) (wrong []string) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				wrong = append(wrong, s(path+"."+k, x)...)
			}
		case []any:
			for i, x := range v {
				wrong = append(wrong, s(fmt.Sprintf("%s[%d]", path, i), x)...)
			}
		default:
			wrong = []string{fmt.Sprintf("%s is %T, want an object or array", path, v)}
		}
		return wrong
	}
}

// matches is a string.
func matches(pattern string) shape {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(path string, v any) []string {
		if s, ok := v.(string); !ok || !re.MatchString(s) {
			return []string{fmt.Sprintf("%s is %v, want text like %s", path, v, pattern)}
		}
		return nil
	}
}

// between is a number in [low, high].
func between(low, high float64) shape {
	return func(path string, v any) []string {
		n, ok := v.(json.Number)
		if f, err := n.Float64(); !ok || err != nil || f < low || f > high {
			return []string{fmt.Sprintf("%s is %v, want a number in %v–%v", path, v, low, high)}
		}
		return nil
	}
}

func integer(path string, v any) []string {
	n, ok := v.(json.Number)
	if _, err := strconv.ParseUint(string(n), 10, 53); !ok || err != nil {
		return []string{fmt.Sprintf("%s is %v, want an integer that JSON holds exactly", path, v)}
	}
	return nil
}

func boolean(path string, v any) []string {
	if _, ok := v.(bool); !ok {
		return []string{fmt.Sprintf("%s is %v, want true or false", path, v)}
	}
	return nil
}

var (
	text    = matches(`(?s).+`)
	stamp   = matches(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	rate    = between(0, 1)
	seconds = between(1e-6, 60) // what didn't happen is absent, and nothing here takes a microsecond or a minute
	ratio   = between(0.5, 1e5) // of a busy second to a fast link's milliseconds
	verdict = "direct|relayed|failed|unsupported|harness-error"
	oracle  = matches(`direct|predictable|birthday(\(.*\))?|portmap|relay-only`)
	// What theory needs besides, and with which probability.
	possible = object(map[string]shape{
		"via?": matches(`lan|udp6?|portmap|tcp6?`), "sockets?": integer, "probes?": integer, "ports?": integer, "p?": rate,
		"silent?": matches(`camera|viewer`),
	})
	pinned = object(map[string]shape{"name": text, "digest": matches(`sha256:[0-9a-f]{64}`), "text?": text})
)

func dist(s shape) shape {
	return object(map[string]shape{"n": integer, "min": s, "p50": s, "p95": s, "p99": s, "max": s})
}

var runShape = object(map[string]shape{
	"schema": matches(`punchlab/run/1`), "command": every(text), "scenario": pinned, "topology": pinned, "seed": integer,
	"engine": matches(`netfilter|table|sim`), "jobs?": integer, "shard?": text, "stop?": text, "thresholds?": every(text), "trials_per_cell": integer, "cells?": integer, "late_limit_s?": between(0, 3600),
	"axes?":       every(object(map[string]shape{"key": text, "values": every(text)})),
	"set?":        every(every(text)),
	"strategies?": every(object(map[string]shape{"name": text, "system": text, "summary?": text, "setup?": every(text)})),
	"versions":    object(map[string]shape{"commit": text, "dirty?": boolean, "go": matches(`go\d.*`), "modules": every(text)}),
	"kernel":      text, "cpu": object(map[string]shape{"model": text, "cores": integer}), "sysctls": every(text),
	"start": stamp, "end": stamp, "complete": boolean,
})

var trialShape = object(map[string]shape{
	"schema": matches(`punchlab/trial/1`), "cell": integer, "trial": integer, "attempt?": integer, "seed": integer,
	"params": every(text), "outcome": matches(verdict), "oracle": oracle, "possible?": possible,
	"triangle_s?": seconds, "bound_s?": seconds, "connect_s?": seconds, "first_packet_s?": seconds, "first_frame_s?": seconds,
	"idle_s?": seconds, "path_changes?": between(1, 100),
	"media?": object(map[string]shape{
		"frames_sent": integer, "frames_received": integer, "frames_intact": integer,
		"latency_s?": every(seconds), "goodput_bps?": between(1e3, 1e9), "loss?": rate, "gap_s?": seconds,
	}),
	"events?": every(object(map[string]shape{"at_s": seconds, "what": text, "error?": text})), "pcap?": text,
	"bytes?": every(integer), "probes?": every(between(0, 1e6)),
	"lateness_s?": object(map[string]shape{"p50": between(0, 60), "p99": between(0, 60), "max": between(0, 60)}),
	"cause?":      text, "error?": text, "started_at?": stamp, "ended_at": stamp,
})

var summaryShape = object(map[string]shape{
	"schema": matches(`punchlab/summary/1`), "scenario": text, "engine": matches(`netfilter|table`), "seed": integer,
	"wall_s": between(0.01, 600), "trials": integer,
	"cells": every(object(map[string]shape{
		"params": every(text), "trials": integer, "oracle": oracle, "possible?": possible,
		"outcomes": object(map[string]shape{
			"direct": integer, "relayed": integer, "failed": integer, "unsupported": integer, "harness-error": integer,
		}),
		"direct_rate?": object(map[string]shape{"value": rate, "low": rate, "high": rate}),
		"triangle_s?":  seconds, "bound_s?": seconds, "connect_s?": dist(seconds),
		"first_packet_s?": dist(seconds), "first_packet_ratio?": dist(ratio),
		"first_frame_s?": dist(seconds), "first_frame_ratio?": dist(ratio),
		"media?": object(map[string]shape{
			"frames_sent": integer, "frames_received": integer, "frames_intact": integer,
			"latency_s?": dist(seconds), "goodput_bps?": dist(between(1e3, 1e9)), "loss?": rate,
			"gap_s?": dist(seconds),
		}),
		"bytes": every(integer), "probes": every(dist(between(0, 1e6))),
	})),
})

// decode reads one JSON value and keeps its numbers as written.
func decode(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func read(t *testing.T, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func adhere(t *testing.T, s shape, file string, v any) {
	t.Helper()
	for _, w := range s(file, v) {
		t.Error(w)
	}
}

func TestContractOfARunsFolder(t *testing.T) {
	t.Parallel()
	needLab(t)
	dir := filepath.Join(t.TempDir(), "out")
	c := command(t, t.TempDir(), runArgs(dir, "--json", "--seed", "7")...)
	c.Env = append(c.Env, "PUNCHLAB_TRIALS=2") // every flag is also a variable
	var stderr strings.Builder
	c.Stderr = &stderr
	stdout, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}

	run := decode(t, read(t, dir, "run.json"))
	adhere(t, runShape, "run.json", run)
	if m := run.(map[string]any); m["complete"] != true || m["seed"] != json.Number("7") || m["trials_per_cell"] != json.Number("2") {
		t.Errorf("run.json: complete %v, seed %v, trials_per_cell %v; want true, 7, 2", m["complete"], m["seed"], m["trials_per_cell"])
	}
	seen := map[any]int{}
	for line := range bytes.Lines(read(t, dir, "trials.jsonl")) {
		v := decode(t, line)
		adhere(t, trialShape, "trials.jsonl", v)
		m := v.(map[string]any)
		if m["outcome"] == "harness-error" {
			continue // another test's load; it has run again
		}
		checkAbsence(t, m)
		seen[m["outcome"]]++
	}
	if want := map[any]int{"direct": 4, "relayed": 2, "failed": 2}; !maps.Equal(seen, want) {
		t.Errorf("outcomes %v, want %v", seen, want)
	}
	summary := decode(t, read(t, dir, "summary.json"))
	adhere(t, summaryShape, "summary.json", summary)
	checkSummary(t, summary.(map[string]any))
	if !reflect.DeepEqual(decode(t, stdout), summary) {
		t.Errorf("--json printed something else than summary.json:\n%s", stdout)
	}
}

// checkAbsence checks that a trial has what happened in it, and nothing else.
func checkAbsence(t *testing.T, m map[string]any) {
	t.Helper()
	happened := []string{"connect_s", "first_packet_s", "first_frame_s", "bound_s", "media"}
	for _, key := range happened {
		if _, there := m[key]; there != slices.Contains([]any{"direct", "relayed"}, m["outcome"]) {
			t.Errorf("a trial that went %v: %s is there: %v", m["outcome"], key, there)
		}
	}
	if _, there := m["cause"]; there == (m["outcome"] == "direct") {
		t.Errorf("a trial that went %v: cause is there: %v (%v)", m["outcome"], there, m["cause"])
	}
	if _, there := m["error"]; there && m["outcome"] == "direct" {
		t.Errorf("a direct trial has the error %v", m["error"])
	}
	for _, key := range []string{"triangle_s", "lateness_s", "bytes", "probes"} {
		if _, there := m[key]; !there {
			t.Errorf("a trial that went %v: %s is missing", m["outcome"], key)
		}
	}
	traffic, _ := m["bytes"].(map[string]any)
	for _, key := range []string{"camera_up", "relay"} {
		if _, there := traffic[key]; !there {
			t.Errorf("a trial that went %v: bytes.%s is missing", m["outcome"], key)
		}
	}
}

func checkSummary(t *testing.T, s map[string]any) {
	t.Helper()
	for _, c := range s["cells"].([]any) {
		cell := c.(map[string]any)
		o := cell["outcomes"].(map[string]any)
		judged := 0
		for _, k := range []string{"direct", "relayed", "failed", "unsupported"} {
			n, _ := o[k].(json.Number).Int64()
			judged += int(n)
		}
		if cell["trials"] != json.Number(strconv.Itoa(judged)) {
			t.Errorf("%v: trials %v, want those with a verdict alone, %d", cell["params"], cell["trials"], judged)
		}
		if cell["direct_rate"] == nil {
			t.Errorf("%v: no direct_rate", cell["params"])
		}
	}
}

func TestContractOfARunWithoutVerdict(t *testing.T) {
	t.Parallel()
	needLab(t)
	dir := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := punchlab(t, t.TempDir(), "run", abs("testdata/small.yaml"), "--late", "1ns", "--out", dir, "--json",
		"--trials", "1", "--set", "camera.nat=full-cone", "--set", "strategy=direct", "--format", "html")
	if code != exitLab || !strings.Contains(stderr, "without a verdict") {
		t.Errorf("exit code %d, want %d: the lab was late in every trial\n%s", code, exitLab, stderr)
	}
	summary := decode(t, []byte(stdout))
	adhere(t, summaryShape, "summary.json", summary)
	cell := summary.(map[string]any)["cells"].([]any)[0].(map[string]any)
	if o := cell["outcomes"].(map[string]any); cell["trials"] != json.Number("0") || o["harness-error"] == json.Number("0") {
		t.Errorf("trials %v with outcomes %v: want harness errors beside them, never counted in", cell["trials"], o)
	}
	for _, key := range []string{"direct_rate", "connect_s", "first_packet_s", "first_frame_s", "media"} {
		if v, there := cell[key]; there {
			t.Errorf("%s is %v without a trial that has a verdict", key, v)
		}
	}
	for line := range bytes.Lines(read(t, dir, "trials.jsonl")) {
		v := decode(t, line)
		if m := v.(map[string]any); m["outcome"] != "harness-error" || !strings.Contains(fmt.Sprint(m["cause"]), "late") {
			t.Errorf("outcome %v, cause %v; want a harness error that says how late", m["outcome"], m["cause"])
		}
	}
	if readRun(t, dir).Manifest.Complete {
		t.Error("a run with open trials is marked complete")
	}
}

func TestContractOfExecsEnvironment(t *testing.T) {
	needLab(t)
	for host, want := range map[string]string{
		"camera":     `PUNCHLAB_ADDR=192\.168\.\d+\.\d+`,
		"rendezvous": `PUNCHLAB_ADDR=198\.51\.100\.1,198\.51\.100\.2`,
	} {
		code, stdout, stderr := punchlab(t, t.TempDir(), "exec", "two-homes", host, "--", "sh", "-c",
			`env; for a in $(echo $PUNCHLAB_ADDR | tr , ' '); do grep -qF "$a" /proc/net/fib_trie || echo "not mine: $a"; done; exit 3`)
		if code != 3 {
			t.Errorf("%s: exit code %d, want the command's, 3\n%s", host, code, stderr)
		}
		for _, line := range []string{want, "PUNCHLAB_HOST=" + host, `PUNCHLAB_RENDEZVOUS=198\.51\.100\.1,198\.51\.100\.2`} {
			if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(stdout) {
				t.Errorf("%s: no line %s in its environment:\n%s", host, line, stdout)
			}
		}
		if regexp.MustCompile(`not mine|(?m)^PUNCHLAB_(ISOLATED|FABRIC)=`).MatchString(stdout) {
			t.Errorf("%s has an address that is not its own, or finds the lab's own variables:\n%s", host, stdout)
		}
	}
}

func TestContractOfTheLastGroup(t *testing.T) {
	t.Parallel()
	needLab(t)
	const stubborn = `trap "" TERM; sleep 60; sleep 60`
	start := time.Now()
	code, stdout, stderr := punchlab(t, t.TempDir(), "exec", "two-homes", "camera", "--", "sh", "-c", stubborn,
		"---", "rendezvous", "--", "sh", "-c", "exit 9", "---", "viewer", "--", "sh", "-c", "echo $PUNCHLAB_HOST; exit 5")
	if code != 5 || stdout != "viewer\n" {
		t.Errorf("exit code %d, output %q; want the last group's, 5 and viewer\n%s", code, stdout, stderr)
	}
	if took := time.Since(start); took > 90*time.Second {
		t.Errorf("the last group's end took %v to end the others", took)
	}
}

func TestContractOfExitCodes(t *testing.T) {
	for code, want := range map[int]int{exitPass: 0, exitFail: 1, exitUndecided: 2, exitUsage: 64, exitLab: 70, exitUnsupported: 127} {
		if code != want {
			t.Errorf("an exit code is %d, want %d", code, want)
		}
	}
	if got := []string{record.ManifestFile, record.TrialsFile, record.SummaryFile}; !slices.Equal(got, []string{"run.json", "trials.jsonl", "summary.json"}) {
		t.Errorf("a run's files are %v", got)
	}
}
