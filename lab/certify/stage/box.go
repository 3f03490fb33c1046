package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/plug"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/netns"
)

// cable is what a box hangs on.
type cable struct {
	set *Set
	box *plug.Box

	mu        sync.Mutex
	lease     plug.Lease
	forwarded []byte // where the ports are that its owner has forwarded, as a ticket; nil: that is still to be done
}

// leaseIn is how long a box may take to get an address after its cable was plugged in: it may be starting.
const leaseIn = 2 * time.Minute

// answersIn is how long a box may take to use the address that it has got, before it is looked at all the same (RFC 5227 asks it to wait for seven
// seconds).
const answersIn = 10 * time.Second

// plug puts the box in the camera's place, or asks its hook to be another unit.
func (c *Camera) plug(ctx context.Context) error {
	x := c.set
	c.host = cameraHost
	if err := c.become(ctx); err != nil {
		return err
	}
	if x.box == nil {
		if err := x.attach(ctx); err != nil {
			return err
		}
	}
	c.box = x.box
	if err := x.box.await(ctx); err != nil {
		return err
	}
	forwarded, err := x.box.forward(x.stage.o.Device.Forward)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ticket == nil && len(forwarded) > 0 {
		c.ticket = forwarded
	}
	return err
}

// attach plugs the box in, and watches its cable.
func (x *Set) attach(ctx context.Context) error {
	t, d := x.lab.Topology(), x.stage.o.Device
	site := t.SiteOf(cameraHost)
	if site == nil {
		return fmt.Errorf("plug the box in: host %s of topology %s is on no site's LAN", cameraHost, t.Name)
	}
	names := map[string]netip.Addr{}
	for _, server := range x.stage.Decl().Servers {
		for _, a := range t.HostAddr(x.serverHost(server.Role)) {
			if _, has := names[server.Name]; !has && a.Is4() {
				names[server.Name] = a
			}
		}
	}
	b, err := plug.Attach(ctx, x.lab, site.Name, plug.Options{Interface: d.Interface, From: d.From, Names: names})
	if err != nil {
		return err
	}
	x.box = &cable{set: x, box: b}
	x.routes.Plug(cameraHost, site.Name)
	if err := x.tape.WatchOutlet(b.Outlet(), cameraHost); err != nil {
		return err
	}
	x.stage.Note("the box is plugged in on site %s", site.Name)
	return nil
}

// await waits for the box's address.
func (b *cable) await(ctx context.Context) error {
	began := time.Now()
	long, cancel := context.WithTimeout(ctx, leaseIn)
	defer cancel()
	lease, err := b.box.Await(long)
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return &Fault{certify.RoleCamera, 1, fmt.Sprintf("took no address within %v: %v", leaseIn, err)}
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return expired(ctx, fmt.Sprintf("the box to take an address (%v)", err), time.Since(began))
	case err != nil:
		return err
	}
	soon, end := context.WithTimeout(ctx, answersIn)
	defer end()
	if err := b.box.Outlet().Answers(soon, lease.Addr); ctx.Err() != nil {
		return expired(ctx, "the box to answer for its address", 0)
	} else if err != nil {
		b.set.stage.Note("%v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lease = lease
	b.set.stage.Note("the box has %v (%s %q %q)", lease.Addr, lease.MAC, lease.Hostname, lease.Vendor)
	return nil
}

// forward does what the box's owner does in the router, once a lab, and returns what that owner tells viewers: where the ports are, a
// line for each.
func (b *cable) forward(ports []uint16) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forwarded != nil {
		return b.forwarded, nil
	}
	ticket := []byte{}
	for _, port := range ports {
		at, err := b.box.Forward(port)
		if errors.Is(err, lab.ErrNoRouter) { // it is reached as it is
			at, err = netip.AddrPortFrom(b.lease.Addr, port), nil
		}
		if err != nil {
			return nil, err
		}
		b.set.stage.Note("the box's owner has forwarded port %d: it is at %v", port, at)
		ticket = fmt.Appendf(ticket, "%v\n", at)
	}
	b.forwarded = ticket
	return ticket, nil
}

func (b *cable) addrs() []netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []netip.Addr{b.lease.Addr}
}

// close keeps the box's questions, and gives the interface back.
func (b *cable) close() error {
	questions, unkept := b.box.Questions()
	for _, q := range questions {
		b.set.stage.Record(map[string]any{"dns": q})
		if !q.Answer.IsValid() {
			b.set.stage.Note("the box asked for %s %s: %s", q.Type, q.Name, q.Code)
		}
	}
	if unkept > 0 {
		b.set.stage.Note("the box asked %d more questions", unkept)
	}
	return b.box.Close()
}

// Box is what hangs on the cable: for Forward, Leases and Questions; nil: the camera is none, or has not been started.
func (x *Set) Box() *plug.Box {
	if x.box == nil {
		return nil
	}
	return x.box.box
}

// become asks the hook to be the unit, and for its ticket. Unit 1 needs no hook.
func (c *Camera) become(ctx context.Context) error {
	err := c.hook(ctx, certify.ActionRun)
	var unsupported *Unsupported
	switch {
	case !errors.As(err, &unsupported):
		return err
	case c.Unit == 1:
		return nil
	case unsupported.Why == "":
		unsupported.Why = fmt.Sprintf("asked to be unit %d, its hook exited with 127", c.Unit)
	}
	return err
}

// hookOutput is how much of what a hook prints is kept.
const hookOutput = 64 << 10

// hook has the vendor's hook do an action: outside the lab, where the switch or the vendor's tool is.
func (c *Camera) hook(ctx context.Context, a certify.Action) error {
	s := c.set.stage
	argv := s.o.Device.Hook
	if len(argv) == 0 {
		return &Unsupported{certify.RoleCamera, a, "no hook was given (--hook)"}
	}
	folder, err := s.folder(certify.RoleCamera, c.Unit)
	if err != nil {
		return err
	}
	result := filepath.Join(folder, "result-"+strconv.Itoa(s.next()))
	if err := os.Mkdir(result, 0o755); err != nil {
		return err
	}
	if a == certify.ActionRun {
		c.mu.Lock()
		c.left = result // for Result, until the stage is closed
		c.mu.Unlock()
	} else {
		defer os.RemoveAll(result)
	}
	short, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	out := &limited{most: hookOutput}
	cmd := exec.CommandContext(short, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = folder, out, out, time.Second
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "TMPDIR=" + folder, "LANG=C.UTF-8"},
		c.set.environment(starting{role: certify.RoleCamera, action: a, unit: c.Unit, host: c.host}, folder, filepath.Base(result))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: 0}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = s.home(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	s.paper.write(outputFile, fmt.Sprintf("=== the vendor's hook (%s), unit %d: %v\n%s\n\n", a, c.Unit, cmd.ProcessState, out.Bytes()))
	return c.hooked(ctx, short, a, result, err)
}

// AskHook has the vendor's hook do an action that takes nothing away, for the honesty probe, whose case no program knows: no server is
// started, and no box plugged in. The error is *Unsupported, as it has to be, *Fault, or the lab's; nil: the hook did it.
func (x *Set) AskHook(ctx context.Context) error {
	return x.Unplugged().hook(ctx, certify.ActionPrivacyOff)
}

// Unplugged is a box that is not plugged in: its hook alone can be asked for actions.
func (x *Set) Unplugged() *Camera {
	return &Camera{Unit: 1, set: x, host: cameraHost, box: &cable{set: x}}
}

// hooked judges how the hook ended, and takes what it has left.
func (c *Camera) hooked(ctx, short context.Context, a certify.Action, result string, err error) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return expired(ctx, fmt.Sprintf("the hook's %s", a), 0)
	case short.Err() != nil:
		return &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("could not %s: its hook had not done it within %v", a, readyIn)}
	case errors.As(err, &exit) && exit.ExitCode() == certify.ExitUnsupported:
		return &Unsupported{Role: certify.RoleCamera, Action: a}
	case errors.As(err, &exit):
		return &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("could not %s: its hook ended with %v", a, err)}
	case err != nil:
		return fmt.Errorf("run the hook: %w", err)
	}
	root, err := os.OpenRoot(filepath.Dir(result))
	if err != nil {
		return err
	}
	defer root.Close()
	r := &results{root: root, name: filepath.Base(result)}
	ticket, err := r.whole(ticketFile, maxTicket)
	public, err2 := r.whole(identityFile, maxIdentity)
	if err := errors.Join(err, err2); err != nil {
		return &Fault{certify.RoleCamera, c.Unit, fmt.Sprintf("left what cannot be read, by its hook: %v", err)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(ticket) > 0 {
		c.ticket = ticket
	}
	if len(public) > 0 {
		c.public = public
	}
	return nil
}

// home runs fn where this program was started, or where the box's interface is if that was not kept.
func (s *Stage) home(fn func() error) error {
	home, err := netns.Home()
	if errors.Is(err, netns.ErrNoHome) && s.o.Device.From != nil {
		return s.o.Device.From.Do(fn)
	}
	if err != nil {
		return err
	}
	defer home.Close()
	return home.Do(fn)
}

// limited keeps the first bytes that are written to it.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(b []byte) (int, error) {
	_, _ = l.Buffer.Write(b[:min(len(b), max(l.most-l.Len(), 0))])
	return len(b), nil
}

// Silent reports whether the camera has sent nothing since a position of the tape.
func (c *Camera) Silent(from int, match ...tape.Match) bool {
	return c.set.tape.Count(from, append(match, c.Out())...) == 0
}
