package certify_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify"
)

// full declares every feature; tests change its text.
func full(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func declaration(t testing.TB, change func(string) string) *certify.Declaration {
	t.Helper()
	text := full(t)
	if change != nil {
		text = change(text)
	}
	d, err := certify.Parse("full.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// withoutFeatures declares none, and what needs any is left out.
func withoutFeatures(text string) string {
	text, _, _ = strings.Cut(strings.ReplaceAll(text, ": true", ": false"), "servers:")
	return strings.NewReplacer("  keepalive: 25s\n", "", "  relay-frame: 4s\n", "").Replace(text)
}

func TestDeclaration(t *testing.T) {
	d, err := certify.Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d.Text != full(t) || !strings.HasPrefix(d.Digest, "sha256:") || len(d.Digest) != 71 {
		t.Errorf("digest %s of %d bytes", d.Digest, len(d.Text))
	}
	d.Text, d.Digest = "", ""
	want := &certify.Declaration{
		Device: certify.Device{Vendor: "ACME", Model: "Cam 1", Firmware: certify.Firmware{
			Name: "acme-cam1-4.2.bin", Version: "4.2", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},
		Features: map[certify.Feature]bool{},
		Bounds: certify.Bounds{Keepalive: 25 * time.Second, Idle: 60000, FirstFrame: 2 * time.Second, RelayFrame: 4 * time.Second,
			Ports: []certify.Port{{Protocol: "udp", Number: 5000}}, FrameOverhead: 0.15, Floor: 200_000, Bitrate: 2_000_000, Recovery: 10 * time.Second},
		Servers: []certify.Server{{Name: "p2p.acme.example", Role: "rendezvous"}, {Name: "relay.acme.example", Role: "relay"}},
	}
	for _, f := range certify.Features() {
		want.Features[f.Feature] = true
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

func TestDeclarationFaults(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		want     string // lines of the error
	}{
		"relay bound without a relay": {"  relay: true", "  relay: false",
			"f.yaml:26:3: bounds.relay-frame: a bound on what the camera does not do: it declares relay: false\n" +
				"f.yaml:34:23: servers.relay.acme.example: a relay is named, but the camera declares relay: false"},
		"registration without a bound": {"  keepalive: 25s\n", "",
			"f.yaml:23:3: bounds: keepalive is missing: the camera declares registration: true"},
		"registration without an identifier": {"  identifier: true", "  identifier: false",
			"f.yaml:10:17: features.registration: registration: true needs identifier: true"},
		"no registration, but keepalives and a server": {"  registration: true", "  registration: false",
			"f.yaml:23:3: bounds.keepalive: a bound on what the camera does not do: it declares registration: false\n" +
				"f.yaml:33:21: servers.p2p.acme.example: a server to register with is named, but the camera declares registration: false"},
		"ICE without STUN": {"  stun: true", "  stun: false",
			"f.yaml:20:12: features.consent: consent: true needs stun: true\nf.yaml:21:8: features.ice: ice: true needs stun: true"},
		"a port twice":                  {"[udp/5000]", "[udp/5000, tcp/443, udp/5000]", "f.yaml:27:30: bounds.ports[2]: udp/5000 is declared twice"},
		"a port twice, in other digits": {"[udp/5000]", "[udp/5000, udp/05000]", "f.yaml:27:21: bounds.ports[1]: udp/5000 is declared twice"},
		"no port": {"[udp/5000]", "[udp/70000, tcp/0]",
			"f.yaml:27:11: bounds.ports[0]: udp/70000 is no port: 1 to 65535\nf.yaml:27:22: bounds.ports[1]: tcp/0 is no port: 1 to 65535"},
		"a port of no protocol": {"[udp/5000]", "[sctp/5000]", `f.yaml:27:11: bounds.ports[0]: "sctp/5000" is not a port such as udp/5000`},
		"keepalives too fast": {"keepalive: 25s", "keepalive: 14s",
			"f.yaml:23:14: bounds.keepalive: 14s is less than the 15s that REG-5 asks for: the camera would fail by its own word"},
		"fewer bytes than keepalives": {"idle: 60kB", "idle: 4kB",
			"f.yaml:24:9: bounds.idle: 4000 bytes an hour are less than the headers of its keepalives, one every 25s: 4032"},
		"a relay faster than no relay": {"relay-frame: 4s", "relay-frame: 1s",
			"f.yaml:26:16: bounds.relay-frame: 1s is less than first-frame (2s): the way by a relay is not the shorter one"},
		"a floor above the ceiling": {"floor: 200kbit", "floor: 3mbit",
			"f.yaml:29:10: bounds.floor: more than bitrate: the camera cannot go down to a rate that it never sends"},
		"more overhead than frames": {"15%", "150%",
			"f.yaml:28:19: bounds.frame-overhead: more than 100%: more would be spent on the frames than they are"},
		"a bound of nothing": {"first-frame: 2s", "first-frame: 0s",
			"f.yaml:25:16: bounds.first-frame: not a bound that says something: more than nothing, and at most 15s"},
		"a bound without end": {"recovery: 10s", "recovery: 9000h",
			"f.yaml:31:13: bounds.recovery: not a bound that says something: more than nothing, and at most 1m0s"},
		"idle like a stream": {"idle: 60kB", "idle: 11MB", "f.yaml:24:9: bounds.idle: 11000000 bytes an hour are as much as a slow stream: 10000000 at most"},
		"no floor":           {"floor: 200kbit", "floor: 1bit", "f.yaml:29:10: bounds.floor: less than 50000 bit/s is no picture"},
		"no ceiling": {"bitrate: 2mbit", "bitrate: 10gbit",
			"f.yaml:30:12: bounds.bitrate: more than the 20000000 bit/s for which uplinks are made here"},
		"a keepalive that is none": {"keepalive: 25s", "keepalive: 3m",
			"f.yaml:23:14: bounds.keepalive: not a bound that says something: more than nothing, and at most 2m0s"},
		"all ports": {"[udp/5000]", "[udp/1, udp/2, udp/3, udp/4, udp/5, udp/6, udp/7, udp/8, udp/9, udp/10, udp/11, udp/12, udp/13, udp/14, udp/15, udp/16, udp/17]",
			"f.yaml:27:10: bounds.ports: 17 open ports: 16 at most"},
		"a feature left open": {"  update: true\n", "", "f.yaml:9:3: features.update: missing"},
		"a feature misspelt": {"  update: true", "  updates: true",
			`f.yaml:18:3: features.updates: unknown key "updates" (did you mean "update"?)`},
		"a feature answered twice": {"  update: true", "  update: true\n  update: false",
			"f.yaml:19:3: features.update: duplicate key: it is set in line 18 already"},
		"a feature answered by a word": {"  update: true", "  update: sometimes", "f.yaml:18:11: features.update: want true or false, got text"},
		"a server of no role": {"relay.acme.example: relay", "relay.acme.example: turn",
			`f.yaml:34:23: servers.relay.acme.example: unknown role "turn" (did you mean "stun"?)`},
		"no name": {"relay.acme.example: relay", "_: relay", `f.yaml:34:3: servers._: unknown key "_"`},
		"a digest too short": {"15b0f00a08", "15b0f00a0",
			`f.yaml:7:13: device.firmware.sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f0…" ` +
				`is not a SHA-256 digest (64 hexadecimal digits, small letters)`},
		"a version that is a number": {`version: "4.2"`, "version: 4.2",
			"f.yaml:6:14: device.firmware.version: want one line of text, got a number"},
	} {
		t.Run(name, func(t *testing.T) {
			text := full(t)
			if !strings.Contains(text, test.old) {
				t.Fatalf("testdata/full.yaml has no %q", test.old)
			}
			d, err := certify.Parse("f.yaml", []byte(strings.Replace(text, test.old, test.new, 1)))
			if err == nil {
				t.Fatalf("taken: %+v", d)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadWhatIsNoDeclaration(t *testing.T) {
	big := t.TempDir() + "/big.yaml"
	if err := os.WriteFile(big, []byte(strings.Repeat("# much\n", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"testdata/none.yaml": "testdata/none.yaml: read declaration: no such file or directory",
		"/dev/zero":          "/dev/zero: 32769 bytes are too many",
		big:                  "32769 bytes are too many",
		"testdata":           "./testdata: read declaration: is a directory",
	} {
		if _, err := certify.Load(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
}

func TestSelect(t *testing.T) {
	every := certify.Select(declaration(t, nil))
	for _, s := range every {
		if !s.Applicable {
			t.Errorf("%s does not apply to a camera that has everything: %s", s.Case.ID, s.Why)
		}
	}
	applies := func(selected []certify.Selected, id string) (bool, string) {
		i := slices.IndexFunc(selected, func(s certify.Selected) bool { return s.Case.ID == id })
		return selected[i].Applicable, selected[i].Why
	}
	bare := certify.Select(declaration(t, withoutFeatures))
	if len(bare) != len(every) || len(every) != 56 {
		t.Fatalf("%d and %d cases selected: none is ever left out", len(bare), len(every))
	}
	for _, test := range []struct {
		id         string
		applicable bool
		why        string
	}{
		{"NAT-1", true, "must, for every camera"},
		{"NAT-2", false, "not declared: relay"},
		{"MED-7", true, "should, for every camera"},
		{"REG-6", false, "not declared: registration"},
		{"STD-1", false, "not declared: stun"},
	} {
		if ok, why := applies(bare, test.id); ok != test.applicable || why != test.why {
			t.Errorf("%s: %v (%s), want %v (%s)", test.id, ok, why, test.applicable, test.why)
		}
	}
	for _, s := range bare {
		if s.Case.Level == certify.Must && !s.Applicable {
			t.Errorf("%s is a must, and does not apply", s.Case.ID)
		}
	}
	if _, why := applies(every, "STD-2"); why != "declared: consent" {
		t.Errorf("STD-2 applies because: %s", why)
	}
}

// The schema answers for the same features and bounds as the code does.
func TestSchemaAgreesWithTheCode(t *testing.T) {
	var s struct {
		Properties struct {
			Features, Bounds struct {
				Required   []string
				Properties map[string]struct{ Description string }
			}
		}
	}
	if err := json.Unmarshal(certify.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	for _, f := range certify.Features() {
		p, ok := s.Properties.Features.Properties[string(f.Feature)]
		if !ok || !strings.EqualFold(p.Description, f.What+".") || !slices.Contains(s.Properties.Features.Required, string(f.Feature)) {
			t.Errorf("feature %s: %+v, want it required and described as %q", f.Feature, p, f.What)
		}
	}
	for _, l := range certify.Limits() {
		p, ok := s.Properties.Bounds.Properties[string(l.Bound)]
		required := slices.Contains(s.Properties.Bounds.Required, string(l.Bound))
		if !ok || !strings.EqualFold(p.Description, l.What+".") || required != (len(l.Needs) == 0) {
			t.Errorf("bound %s: %+v, required %v", l.Bound, p, required)
		}
	}
	if len(s.Properties.Features.Properties) != len(certify.Features()) || len(s.Properties.Bounds.Properties) != len(certify.Limits()) {
		t.Error("the schema has more than the code knows")
	}
}

// Whatever the bytes are, they are refused with a place or give a declaration that can be selected by.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full(f)))
	f.Add([]byte(withoutFeatures(full(f))))
	f.Add([]byte("bounds: {ports: [udp/1, {}]}\nservers: {a.b: []}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := certify.Parse("f.yaml", data)
		if err != nil {
			if !strings.Contains(err.Error(), "f.yaml") {
				t.Errorf("fault without its file: %v", err)
			}
			return
		}
		if got := len(certify.Select(d)); got != 56 || d.Bounds.FirstFrame <= 0 {
			t.Errorf("%d cases selected by %+v", got, d)
		}
	})
}
