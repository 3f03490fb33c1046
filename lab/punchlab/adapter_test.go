package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/lab/certify"
)

// The bundled programs know the catalogue's cases and no others, keep its contract, and declare a camera that the lab can read.
func TestAdapterKeepsTheContract(t *testing.T) {
	var ids []string
	for _, c := range certify.Catalogue() {
		ids = append(ids, c.ID)
	}
	known := adapter.Cases()
	slices.Sort(ids)
	slices.Sort(known)
	if !slices.Equal(ids, known) {
		t.Errorf("the adapter knows %v, the catalogue has %v", known, ids)
	}
	if adapter.Version != certify.ContractVersion || adapter.Done != certify.ExitDone || adapter.Failed != certify.ExitFailed ||
		adapter.Unsupported != certify.ExitUnsupported {
		t.Error("another version, or other exit codes")
	}
	d, err := certify.Parse("bundled.yaml", adapter.Declaration("punchlab: \"dev\"", "1.0", strings.Repeat("0a", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if d.Device.Firmware.Name != "punchlab: \"dev\"" || d.Device.Firmware.Version != "1.0" {
		t.Errorf("firmware %+v", d.Device.Firmware)
	}
	if key := adapter.RendezvousKey().Public().String(); !strings.Contains(certify.Contract, "`"+key+"`") {
		t.Errorf("CONTRACT.md does not say that the rendezvous' key is %s", key)
	}
	code := adapter.Run(t.Context(), func(name string) (string, bool) {
		v, ok := map[string]string{"PUNCHLAB_CONTRACT": "1", "PUNCHLAB_ROLE": "camera", "PUNCHLAB_ACTION": "run", "PUNCHLAB_CASE": certify.UnknownCase(7)}[name]
		return v, ok
	}, t.Output())
	if code != certify.ExitUnsupported {
		t.Errorf("an unknown case ends with %d", code)
	}
}
