package stage

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestKeepsRoomOnTheDisk(t *testing.T) {
	said := make(chan error, 1)
	s := newSpare(t.TempDir(), math.MaxUint64, func(err error) { said <- err })
	select {
	case err := <-said:
		if !strings.Contains(err.Error(), "MiB are free") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it says nothing")
	}
	if !s.close() {
		t.Error("it says that there is room")
	}
	if newSpare(t.TempDir(), 0, func(err error) { t.Error(err) }).close() || (*spare)(nil).close() {
		t.Error("it says that there is none")
	}
}
