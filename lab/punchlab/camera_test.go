package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/impl/cloud/cloudtest"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/rogpeppe/go-internal/testscript"
)

// rtspServer says what keeps gst-rtsp-server from running here; nil: nothing does. Its bindings are those of Debian's Python.
func rtspServer() error {
	return exec.Command("/usr/bin/python3", "-c",
		"import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer").Run()
}

// Cameras with all that they have around them: sources, folders, the local network.
func TestCameraScripts(t *testing.T) {
	can := have(t)
	server, err := filepath.Abs("../../impl/source/testdata/rtsp_server.py")
	if err != nil {
		t.Fatal(err)
	}
	if err := rtspServer(); err == nil {
		can["rtsp"] = true
	} else if strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",gst-rtsp-server,") {
		t.Fatalf("PUNCHLAB_REQUIRE names gst-rtsp-server: %v", err)
	}
	var units []byte
	for _, u := range media.EmbeddedClip().AccessUnits {
		units = append(binary.BigEndian.AppendUint32(units, uint32(len(u.Data))), u.Data...)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/camera",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			e.Setenv("RTSP_SERVER", server)
			return os.WriteFile(filepath.Join(e.WorkDir, "clip.units"), units, 0o600)
		},
		Condition: func(cond string) (bool, error) { return can[cond], nil },
	})
}

// A camera records to a store, as it is told to.
func TestCameraRecords(t *testing.T) {
	g := cloudtest.Start(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/camera-record",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GATEWAY", g.Dir)
			e.Setenv("PUNCHLAB_STORE", g.URL())
			return nil
		},
	})
}
