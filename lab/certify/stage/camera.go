package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Identity is a camera's identity.json: what is public about it. What it does not say is empty.
type Identity struct {
	UID, MAC, Serial string
	Firmware         string // SHA-256 of the image that runs, in hexadecimal digits
}

// Camera is a unit of the camera: a program in its cage, or the box. It is safe for concurrent use.
type Camera struct {
	Unit int

	set  *Set
	host string
	p    *Program // nil: it is the box
	box  *cable

	mu     sync.Mutex
	ticket []byte // of an action, or the hook's
	public []byte // identity.json of the hook's
	left   string // result folder of the hook that made it this unit; empty: none
}

// Camera starts a unit of the camera, from 1, after the servers, and waits until it is ready. Unit n has a host of its own, camera-n,
// and a state folder of its own, which outlives the Set. A box is unit 1; it is asked to be another by its hook.
func (x *Set) Camera(ctx context.Context, unit int) (*Camera, error) {
	if err := x.Serve(ctx); err != nil {
		return nil, err
	}
	c := &Camera{Unit: unit, set: x, host: unitHost(unit)}
	argv, _ := x.stage.player(certify.RoleCamera)
	if argv == nil {
		return c, c.plug(ctx)
	}
	began := time.Now()
	var err error
	c.p, err = x.start(starting{role: certify.RoleCamera, action: certify.ActionRun, unit: unit, host: c.host, argv: argv, vendor: true})
	if err != nil {
		return nil, err
	}
	if err := c.p.Ready(ctx); err != nil {
		return nil, err
	}
	x.stage.Note("camera %d is ready on %s after %v", unit, c.host, time.Since(began).Round(time.Millisecond))
	return c, nil
}

// Host is the name of its host; of a box too, under which the tape has it.
func (c *Camera) Host() string { return c.host }

// Addrs are its addresses.
func (c *Camera) Addrs() []netip.Addr {
	if c.box != nil {
		return c.box.addrs()
	}
	return c.set.lab.Host(c.host).Addrs
}

// Out matches the packets that it sends.
func (c *Camera) Out() tape.Match { return tape.From(c.host) }

// Ticket is what a viewer needs to find it: the newest. Empty: it gave none.
func (c *Camera) Ticket() ([]byte, error) {
	c.mu.Lock()
	given := c.ticket
	c.mu.Unlock()
	if given != nil || c.p == nil {
		return given, nil
	}
	b, err := c.p.results.whole(ticketFile, maxTicket)
	if err != nil {
		return nil, c.p.accuse(fmt.Sprintf("gave no ticket that can be read: %v", err))
	}
	return b, nil
}

// Identity is what its identity.json says; what that has not is empty.
func (c *Camera) Identity() (Identity, error) {
	c.mu.Lock()
	b := c.public
	c.mu.Unlock()
	if c.p != nil {
		var err error
		if b, err = c.p.results.whole(identityFile, maxIdentity); err != nil {
			return Identity{}, c.p.accuse(fmt.Sprintf("gave no identity that can be read: %v", err))
		}
	}
	var id Identity
	if len(b) == 0 {
		return id, nil
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("gave an identity that cannot be read: %v", err)}
	}
	return id, nil
}

// Result is a file of its result folder, such as configuration.json, of at most so many bytes; nil: there is none. The error is a *Fault,
// or the lab's.
func (c *Camera) Result(name string, most int64) ([]byte, error) {
	if c.p != nil {
		b, err := c.p.results.whole(name, most)
		if err != nil {
			return nil, c.p.accuse(fmt.Sprintf("gave no %s that can be read: %v", name, err))
		}
		return b, nil
	}
	c.mu.Lock()
	left := c.left
	c.mu.Unlock()
	if left == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(filepath.Dir(left))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := (&results{root: root, name: filepath.Base(left)}).whole(name, most)
	if err != nil {
		return nil, &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("'s hook left no %s that can be read: %v", name, err)}
	}
	return b, nil
}

// Frames are those that it says it has sent, of all its lives: n begins at 1 in each. A box says nothing. A program may write the
// newest ones late. The error is a *Fault.
func (c *Camera) Frames() ([]Frame, error) {
	if c.p == nil {
		return nil, nil
	}
	return c.p.Frames()
}

// Frames are those of frames.jsonl so far, of all the program's lives.
func (p *Program) Frames() ([]Frame, error) {
	frames, err := p.results.read(p.over())
	if err != nil {
		return frames, p.accuse(fmt.Sprintf("wrote what cannot be read: %v", err))
	}
	return frames, nil
}

// Action has it do what an action means, and waits until that is done. The error is *Unsupported, *Fault where it could not (exit code
// 1) or did not in time, or the lab's. After transfer Ticket is the new owner's. ActionPower is Kill, a second, and Start.
func (c *Camera) Action(ctx context.Context, a certify.Action) error {
	c.set.stage.Note("action: %s of camera %d", a, c.Unit)
	if c.p == nil {
		return c.hook(ctx, a)
	}
	if a == certify.ActionPower {
		c.Kill()
		if err := c.set.stage.Pause(ctx, time.Second); err != nil {
			return err
		}
		return c.Start(ctx)
	}
	argv, _ := c.set.stage.player(certify.RoleCamera)
	p, err := c.set.start(starting{
		role: certify.RoleCamera, action: a, unit: c.Unit, host: c.host, argv: argv, vendor: true, wall: readyIn,
	})
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.end()
		return expired(ctx, fmt.Sprintf("action %s of camera %d", a, c.Unit), time.Since(began))
	}
	return c.acted(p, a)
}

// acted takes what an action's program has left.
func (c *Camera) acted(p *Program, a certify.Action) error {
	ticket, err := p.results.whole(ticketFile, maxTicket)
	if perr := p.put(); perr != nil {
		c.set.stage.Note("put results away: %v", perr)
	}
	switch r := p.report; {
	case p.err != nil || r.Ending != contain.Exited || r.Code == certify.ExitUnsupported:
		return p.ended("the action was done")
	case r.Code != certify.ExitDone:
		return &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("could not %s: exit code %d: %s", a, r.Code, lastLine(r))}
	case err != nil:
		return &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("gave no ticket that can be read: %v", err)}
	}
	if len(ticket) > 0 {
		c.mu.Lock()
		c.ticket = ticket
		c.mu.Unlock()
	}
	return nil
}

// lastLine is what a program said last.
func lastLine(r *contain.Report) string {
	out := r.Output.Tail
	if len(out) == 0 {
		out = r.Output.Head
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Sprintf("%.200q", lines[len(lines)-1])
}

// Kill cuts its power. A box's hook can only cut it for a second: Kill returns when the power is back, and the error is the hook's.
func (c *Camera) Kill() error {
	c.set.stage.Note("power of camera %d is cut", c.Unit)
	if c.p == nil {
		return c.hook(context.Background(), certify.ActionPower)
	}
	c.p.Kill()
	return nil
}

// Start gives it power again, with the same state, and waits until it is ready. It does nothing to a camera that has power.
func (c *Camera) Start(ctx context.Context) error {
	c.set.stage.Note("power of camera %d is back", c.Unit)
	if c.p == nil {
		return c.box.await(ctx)
	}
	return c.p.Start(ctx)
}

// Pause suspends its program; a box knows no such thing, and the error is *Unsupported.
func (c *Camera) Pause() error {
	if c.p == nil {
		return &Unsupported{certify.RoleCamera, "pause", "a box cannot be suspended"}
	}
	c.set.stage.Note("camera %d is suspended", c.Unit)
	c.p.Pause()
	return nil
}

// Resume lets it go on.
func (c *Camera) Resume() {
	if c.p != nil {
		c.set.stage.Note("camera %d goes on", c.Unit)
		c.p.Resume()
	}
}

// Alive reports whether its program runs: it has power and has not ended. Of a box nobody knows: true.
func (c *Camera) Alive() bool { return c.p == nil || c.p.Alive() }

// Fault is what its program has done that no program may; nil: nothing so far, or it is a box.
func (c *Camera) Fault() error {
	if c.p == nil || !c.p.over() {
		return nil
	}
	c.p.mu.Lock()
	ending := c.p.ending
	c.p.mu.Unlock()
	if ending && c.p.misdeed(c.p.report) == nil {
		return nil
	}
	return c.p.ended("the case was over")
}

// Report says what its program did; nil: it is not over, or it is a box.
func (c *Camera) Report() *contain.Report {
	if c.p == nil {
		return nil
	}
	return c.p.Report()
}

// Memory is how many bytes of memory its program has to itself now. Of a box the error is *Unsupported.
func (c *Camera) Memory() (int64, error) {
	if c.p == nil {
		return 0, &Unsupported{certify.RoleCamera, "memory", "a box's memory cannot be seen"}
	}
	return c.p.Memory()
}

// Stop ends it in order, by SIGTERM.
func (c *Camera) Stop() error {
	if c.p == nil {
		return nil
	}
	return c.p.end()
}
