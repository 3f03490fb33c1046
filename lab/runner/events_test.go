package runner

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/stack"
)

// logbook notes what happens to it; an event that takes long is dated by its beginning.
type logbook struct {
	start time.Time
	mu    sync.Mutex
	lines []string
	err   error
	takes time.Duration // an event does
}

func (b *logbook) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf("%v ", time.Since(b.start))+fmt.Sprintf(format, args...))
}

func (b *logbook) Do(e lab.Event) (func() error, error) {
	b.note("%s", e.Do)
	time.Sleep(b.takes)
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
		b := &logbook{start: time.Now(), err: errors.New("no such router"), takes: time.Second}
		s := newSchedule(t.Context(), b, []lab.Event{{Do: lab.DoReboot, Site: "camera", For: time.Second}})
		time.Sleep(5 * time.Second)
		happened, failed := s.stop()
		if len(happened) != 1 || happened[0].AtS != 0 || happened[0].Error != "no such router" || failed != "reboot camera for 1s: no such router" {
			t.Errorf("records %+v, failed %q", happened, failed)
		}
		if len(b.lines) != 1 {
			t.Errorf("what failed was undone: %q", b.lines)
		}
	})
}

func TestPlanRefusesToKillWhatTheSystemCanNot(t *testing.T) {
	p := Plan{Cells: []Cell{{System: stack.Bundled{}, Strategy: "relay"}}, Events: []lab.Event{{Do: lab.DoReboot, Site: "camera"}, {Do: lab.DoKill, Host: "camera"}}}
	const want = "event 2, kill camera: system bundled (strategy relay) has nothing on that host that can be killed, only on [rendezvous rendezvous-2 rendezvous-3]"
	if err := p.CheckEvents(); err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
	p.Events[1].Host = "rendezvous"
	if err := p.CheckEvents(); err != nil {
		t.Error(err)
	}
}
