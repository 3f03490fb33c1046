package runner

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/stack"
)

// logbook notes what happens to it.
type logbook struct {
	start time.Time
	lines []string
	err   error
}

func (b *logbook) note(format string, args ...any) {
	b.lines = append(b.lines, fmt.Sprintf("%v ", time.Since(b.start))+fmt.Sprintf(format, args...))
}

func (b *logbook) Do(e lab.Event) (func() error, error) {
	b.note("%s", e.Do)
	return func() error { b.note("%s undone", e.Do); return nil }, b.err
}

func TestEventsHappenInTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &logbook{start: time.Now()}
		s := newSchedule(t.Context(), b, []lab.Event{
			{Do: lab.DoReboot, Site: "camera", At: 3 * time.Second},
			{Do: lab.DoUplinkDown, Site: "viewer", On: lab.OnConnected, At: 100 * time.Millisecond, For: 400 * time.Millisecond},
			{Do: lab.DoKill, Host: "rendezvous", On: lab.OnFirstFrame},                   // never comes
			{Do: lab.DoBlackhole, Between: [2]string{"camera", "viewer"}, At: time.Hour}, // after the end
			{Do: lab.DoReaddress, Site: "viewer", At: 4 * time.Second, For: time.Minute}, // undone after the end
		})
		time.Sleep(time.Second)
		s.reach(stack.Connected)
		s.reach(stack.Connected) // said twice, comes once
		time.Sleep(9 * time.Second)
		happened, failed := s.stop()
		if d := cmp.Diff([]string{"1.1s uplink-down", "1.5s uplink-down undone", "3s reboot", "4s readdress"}, b.lines); d != "" {
			t.Errorf("what happened (-want +got):\n%s", d)
		}
		if len(happened) != 4 || happened[0].AtS != 1.1 || happened[1].AtS != 1.5 || happened[2].AtS != 3 || failed != "" {
			t.Errorf("records %+v, failed %q", happened, failed)
		}
	})
}

func TestEventThatTheLabCanNotDoIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &logbook{start: time.Now(), err: errors.New("no such router")}
		s := newSchedule(t.Context(), b, []lab.Event{{Do: lab.DoReboot, Site: "camera", For: time.Second}})
		time.Sleep(5 * time.Second)
		happened, failed := s.stop()
		if len(happened) != 1 || happened[0].Error != "no such router" || failed != "reboot camera for 1s: no such router" {
			t.Errorf("records %+v, failed %q", happened, failed)
		}
		if len(b.lines) != 1 {
			t.Errorf("what failed was undone: %q", b.lines)
		}
	})
}
