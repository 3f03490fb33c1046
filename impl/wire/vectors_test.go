package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/impl/wire"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vector is a file of testdata/vectors: one scenario, as PROTOCOL.md's section on
// test vectors describes. Byte strings are hexadecimal.
type vector map[string]any

func h(b []byte) string { return hex.EncodeToString(b) }

// verify compares a scenario with its file, or writes the file.
func verify(t *testing.T, name string, v vector) {
	t.Helper()
	path := filepath.Join("testdata", "vectors", name+".json")
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run go test ./impl/wire -update if the scenario is new", err)
	}
	if d := cmp.Diff(string(want), string(b)); d != "" {
		t.Errorf("%s: the protocol has changed (-file +code):\n%s", path, d)
	}
}

func TestMessageVectors(t *testing.T) {
	for _, s := range samples(t) {
		b := marshal(t, s.message)
		diagnostic, err := cbor.Diagnose(b)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, "message-"+s.name, vector{
			"scenario":   "one control message",
			"message":    s.message.Type().String(),
			"diagnostic": diagnostic,
			"bytes":      h(b),
		})
	}
}

// What a byte string of 10 or of 7 and 19 bytes in a message means.
func TestClassAndEndpointVectors(t *testing.T) {
	value := func(m wire.Message, from, n int) string { return h(marshal(t, m)[from : from+n]) }
	var classes, endpoints []vector
	for _, c := range []wire.Class{
		{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsPreserved, Hairpin: true, Timeout: 65535},
		{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressDependent, Ports: wire.PortsSequential, Step: -2, Timeout: 30},
		{Mapping: wire.AddressDependent, Ports: wire.PortsBlock, BlockStart: 40960, BlockSize: 24576},
		{Filtering: wire.EndpointIndependent, Ports: wire.PortsRandom, NoNAT: true},
	} {
		classes = append(classes, vector{"mapping": c.Mapping, "filtering": c.Filtering, "ports": c.Ports, "step": c.Step, "block_start": c.BlockStart,
			"block_size": c.BlockSize, "no_nat": c.NoNAT, "hairpin": c.Hairpin, "timeout": c.Timeout,
			"bytes": value(&wire.Report{Sequence: 1, Class: c}, 7, wire.ClassSize)})
	}
	for _, e := range []struct {
		protocol, bare, endpoint string
		size                     int
	}{
		{"udp", "192.0.2.1:40000", "192.0.2.1:40000", 6},
		{"tcp", "192.0.2.1:40000", "[::ffff:192.0.2.1%tcp]:40000", 7},
		{"udp", "[2001:db8::1]:443", "[2001:db8::1]:443", 18},
		{"tls", "[2001:db8::1]:443", "[2001:db8::1%tls]:443", 19},
	} {
		m := &wire.Peer{ID: 1, Endpoint: at(e.endpoint)}
		endpoints = append(endpoints, vector{"protocol": e.protocol, "address": e.bare, "bytes": value(m, 7, e.size)})
	}
	verify(t, "fields", vector{"scenario": "the byte strings of classes and endpoints", "classes": classes, "endpoints": endpoints})
}

// The files themselves decode, so that they are right even where the samples
// were changed.
func TestMessageVectorsDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/message-*.json")
	if err != nil || len(files) < len(wire.Types()) {
		t.Fatalf("%d message vectors, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Message, Bytes string }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		raw, err := hex.DecodeString(v.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if m, err := wire.Unmarshal(raw); err != nil || m.Type().String() != v.Message {
			t.Errorf("%s: %v, %v", f, m, err)
		}
	}
}

func TestRefusedVectors(t *testing.T) {
	cases := make([]any, 0, len(otherEncodings))
	for _, c := range otherEncodings {
		if c.want != nil {
			cases = append(cases, vector{"case": c.name, "reason": c.want.Error(), "bytes": c.hex})
		}
	}
	verify(t, "refused", vector{
		"scenario": "control messages that a receiver must refuse",
		"cases":    cases,
	})
}
