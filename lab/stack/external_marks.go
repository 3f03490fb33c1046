package stack

import (
	"context"
	"time"
)

// change changes the trial's state and wakes whoever waits for it.
func (x *externalTrial) change(how func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	how()
	x.wake()
}

func (x *externalTrial) wake() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// wait waits until done, which is called with the state locked, says so or fails, or ctx ends.
func (x *externalTrial) wait(ctx context.Context, done func() (bool, error)) error {
	for {
		x.mu.Lock()
		ok, err := done()
		changed := x.changed
		x.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reach notes that a mark has come to pass, the first time. Before the request nothing does.
func (x *externalTrial) reach(m Moment, at time.Time) {
	x.mu.Lock()
	news := x.mark(m, at)
	x.mu.Unlock()
	if news {
		x.tell(m)
	}
}

// mark is reach with the state locked; it reports whether the mark is new. A document's own request moves the one that was
// noted when it was made.
func (x *externalTrial) mark(m Moment, at time.Time) bool {
	asked, begun := x.marks[Requested]
	if !begun || at.Before(asked) {
		return false
	}
	if m == Requested {
		if at.After(x.flows.begun) && asked.Equal(x.flows.begun) {
			x.marks[Requested] = at
		}
		return false
	}
	if _, known := x.marks[m]; known {
		return false
	}
	x.marks[m] = at
	x.wake()
	return true
}

// tell passes a moment on to who asked for it. The marks of externals alone are nobody's.
func (x *externalTrial) tell(m Moment) {
	if x.trial.Reached != nil && m != markSuccess && m != markOver {
		x.trial.Reached(m)
	}
}

// line looks for the patterns of marks and counts in a line of a command.
func (x *externalTrial) line(command, line string, read time.Time) {
	x.mu.Lock()
	var news []Moment
	for i := range x.spec.Commands {
		c := &x.spec.Commands[i]
		if c.Ready.Log != nil && c.Ready.From == command && !x.ready[c.Name] && c.Ready.Log.MatchString(line) {
			x.ready[c.Name] = true
			x.wake()
		}
	}
	for _, m := range externalMarks {
		mark, ok := x.spec.Marks[m]
		if !ok || mark.Log == nil || mark.From != command {
			continue
		}
		if match := mark.Log.FindStringSubmatch(line); match != nil && x.mark(m, timeOf(mark.Log, match, read)) {
			news = append(news, m)
		}
	}
	for _, c := range x.spec.Counts {
		if c.From == command {
			x.tally.add(c.Log, line)
		}
	}
	x.mu.Unlock()
	for _, m := range news {
		x.tell(m)
	}
}

// exited notes that a command has ended by itself.
func (x *externalTrial) exited(command string, code int) {
	x.change(func() { x.exits[command] = code })
	for _, m := range externalMarks {
		if mark, ok := x.spec.Marks[m]; ok && mark.Exit == command && code == 0 {
			x.reach(m, time.Now())
		}
	}
}

// packet counts a packet that a tap saw.
func (x *externalTrial) packet(host string, out bool, at time.Time, b []byte) {
	x.mu.Lock()
	var news []Moment
	before := x.flows.both()
	x.flows.add(at, roleOf(host), out, b)
	if n := x.flows.both(); n > before {
		for _, m := range externalMarks {
			if mark, ok := x.spec.Marks[m]; ok && mark.Packets > before && mark.Packets <= n && x.mark(m, at) {
				news = append(news, m)
			}
		}
	}
	_, marked := x.spec.Marks[FirstPacket]
	if first := x.flows.came[roleViewer]; !marked && !first.IsZero() && x.mark(FirstPacket, first) {
		news = append(news, FirstPacket)
	}
	x.mu.Unlock()
	for _, m := range news {
		x.tell(m)
	}
}

func roleOf(host string) externalRole {
	for role, name := range externalHosts {
		if name == host {
			return externalRole(role)
		}
	}
	return externalRoles
}
