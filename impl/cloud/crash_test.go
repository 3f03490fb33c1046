package cloud

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// childSpool names the spool of the child that is killed.
const childSpool = "PUNCHLAB_CLOUD_TEST_SPOOL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childSpool); dir != "" {
		recordUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// recordUntilKilled records into a spool whose store never answers, and prints how many pictures it has recorded.
func recordUntilKilled(dir string) {
	down := newMemory()
	down.setFail(errDown)
	r, err := NewRecorder(Config{UID: testUID, Key: testKey, Store: down, Spool: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		au := media.EmbeddedClip().At(i)
		au.Captured = epoch.Add(au.PTS)
		if err := r.Write(au); err != nil {
			os.Exit(1)
		}
		for r.Stats().AccessUnits <= uint64(i) {
			time.Sleep(100 * time.Microsecond)
		}
		fmt.Println(i + 1)
	}
}

// Killed in the middle of a segment, a recorder loses its last picture at most; the next one stores the others.
func TestKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var recorded []int
	for _, kill := range []int{160, 30, 240} {
		recorded = append(recorded, killAt(t, self, dir, kill))
	}
	m := newMemory()
	r := newRig(t, m, func(c *Config) { c.Spool = dir })
	r.close()
	a := Archive{Store: m, UID: testUID, Key: testKey}
	parts, err := a.Parts(t.Context())
	if err != nil || len(parts) != len(recorded) {
		t.Fatalf("%d parts, want one for each run: %v", len(parts), err)
	}
	for i, p := range parts {
		var ts bytes.Buffer
		rep, err := a.Read(t.Context(), p, &ts)
		if err != nil || len(rep.Problems) > 0 || !rep.Ended {
			t.Errorf("part %d: %v %+v", i, err, rep)
		}
		n := len(demux(t, bytes.Clone(ts.Bytes())))
		if n < recorded[i]-1 || n > recorded[i]+1 {
			t.Errorf("part %d has %d pictures, want the %d that were recorded, but perhaps for the last", i, n, recorded[i])
		}
		wantPictures(t, ts.Bytes(), units(0, n))
	}
	wantNothingMissing(t, m)
	wantEmpty(t, dir)
}

// killAt runs a recorder, kills it at a picture, and returns how many it had recorded for sure.
func killAt(t *testing.T, self, dir string, picture int) (recorded int) {
	t.Helper()
	c := exec.Command(self)
	c.Env = append(os.Environ(), childSpool+"="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for recorded < picture && lines.Scan() {
		if recorded, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it did until the signal came
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			recorded = n
		}
	}
	_ = c.Wait() // killed
	return recorded
}
