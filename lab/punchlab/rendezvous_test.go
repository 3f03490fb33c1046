package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/impl/program/rendezvous"
)

// The unit and the image call the command with flags that it has.
func TestDeployedFlags(t *testing.T) {
	unit := regexp.MustCompile(`(?m)^ExecStart=\S+ rendezvous (.*)$`).FindStringSubmatch(rendezvous.Unit)
	if unit == nil {
		t.Fatal("the unit starts something else")
	}
	all := strings.Fields(unit[1])
	for _, m := range regexp.MustCompile(`(?m)(?:ENTRYPOINT|CMD) (\[.*\])$`).FindAllStringSubmatch(rendezvous.Dockerfile, -1) {
		var args []string
		if err := json.Unmarshal([]byte(m[1]), &args); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(args[:2], []string{"/punchlab", "rendezvous"}) {
			t.Errorf("the image starts %q", args)
		}
		all = append(all, args...)
	}
	flags := 0
	for _, a := range all {
		if name, ok := strings.CutPrefix(a, "--"); ok {
			if flags++; rendezvousCommand().Flags().Lookup(name) == nil {
				t.Errorf("there is no flag %s", a)
			}
		}
	}
	if flags < 8 {
		t.Errorf("only %d flags were found", flags)
	}
}

// systemd takes the unit without a word, and finds it well shut in.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is missing")
	}
	dir := t.TempDir()
	// The program itself is elsewhere on this machine.
	unit := strings.Replace(rendezvous.Unit, "/usr/local/bin/punchlab", "/bin/true", 1)
	file := filepath.Join(dir, "punchlab-rendezvous.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", "--man=no", file}, {"security", "--offline=yes", "--threshold=20", "--no-pager", file}} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && strings.Contains(string(out), "punchlab-rendezvous.service:") {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

func TestListenFlags(t *testing.T) {
	for _, tt := range []struct {
		listen, public []string
		addrs          int
		port           uint16
		bad            bool
	}{
		{listen: []string{"0.0.0.0:4479"}, port: 4479},
		{listen: []string{"127.0.0.1", "127.0.0.2"}, addrs: 2, port: rendezvousPort},
		{listen: []string{"[::1]:5", "127.0.0.1:5"}, addrs: 2, port: 5},
		{listen: []string{"127.0.0.1:5", "127.0.0.2:6"}, bad: true},
		{listen: []string{"0.0.0.0", "127.0.0.2"}, bad: true},
		{listen: []string{"127.0.0.1"}, public: []string{"r.example.com"}, bad: true},
	} {
		f := &rendezvousFlags{listen: tt.listen, public: tt.public}
		err := f.addresses()
		if tt.bad != (err != nil) || !tt.bad && (len(f.o.Addrs) != tt.addrs || f.o.Port != tt.port) {
			t.Errorf("--listen %v --public %v: %v, port %d, %v", tt.listen, tt.public, f.o.Addrs, f.o.Port, err)
		}
	}
	if at, err := listenAddr("2001:db8::1"); err != nil || at != netip.MustParseAddrPort("[2001:db8::1]:4479") {
		t.Errorf("an address without a port: %v, %v", at, err)
	}
}
