package cases

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// visit is a viewer that asks for a camera once.
type visit struct {
	Camera *stage.Camera
	Ticket []byte        // nil: the camera's
	Host   string        // empty: viewer
	Unit   int           // of the viewer: another one knows nothing of what the first has learnt; 0: 1
	Within time.Duration // until a frame has come, or the viewer has ended, from its first packet on (or stage.View gave up waiting for that); 0: 30 s
}

// visitWithin is longer than a viewer of the contract tries.
const visitWithin = 30 * time.Second

// visited is what came of it.
type visited struct {
	Reached bool          // a frame of the source came: nobody but the camera has that
	Frames  int           // that came, whosever
	Code    int           // with which the viewer ended by itself; -1: it was ended
	Took    time.Duration // from its start to that
	Mark    int           // the tape's position at its start
	Asked   bool          // it sent something
}

// ask has a viewer ask, and ends it once a frame has come. That none comes is no error.
func (a visit) make(ctx context.Context, x *stage.Set) (r visited, err error) {
	began := time.Now()
	if a.Within == 0 {
		a.Within = visitWithin
	}
	v, err := x.View(ctx, stage.Viewing{Camera: a.Camera, Ticket: a.Ticket, Host: a.Host, Unit: a.Unit, For: time.Second})
	if err != nil {
		return r, err
	}
	r.Mark, r.Code = v.Mark(), -1
	short, cancel := context.WithTimeout(ctx, a.Within)
	defer cancel()
	frame, err := v.FirstFrame(short)
	r.Took, r.Asked = time.Since(began), !v.Asked().IsZero()
	var ended *stage.Ended
	var timeout *stage.Timeout
	switch {
	case err == nil:
		r.Frames = len(v.Frames())
		r.Reached = x.Stage().Way() == stage.Box || x.Stage().Source().Intact(frame)
	case ctx.Err() != nil:
		return r, errors.Join(err, v.Stop())
	case errors.As(err, &ended):
		r.Code = ended.Code
	case !errors.As(err, &timeout):
		return r, errors.Join(err, v.Stop())
	}
	return r, v.Stop()
}

// talked reports whether the camera and its servers have exchanged packets both ways since a position of the tape.
func talked(x *stage.Set, camera *stage.Camera, from int) bool {
	servers := x.Servers(camera.Host())
	there := x.Tape().Count(from, camera.Out(), tape.To(servers...), tape.Full)
	back := x.Tape().Count(from, tape.CameTo(camera.Host()), tape.By(servers...), tape.Full)
	return there > 0 && back > 0
}

// seenAt are the endpoints under which the server that is at a host sees the camera, the newest last; not those by which it asks by
// STUN how its NAT behaves.
func seenAt(x *stage.Set, camera *stage.Camera, server string, from int) (ends []netip.AddrPort) {
	outside := x.Routes()
	addrs := outside.External(camera.Host())
	if len(addrs) == 0 {
		addrs = camera.Addrs()
	}
	for _, p := range x.Tape().Packets(from, tape.CameTo(server), tape.By(addrs...), tape.Full) {
		if aSTUN(p.Payload) {
			continue
		}
		if n := len(ends); n == 0 || ends[n-1] != p.Src {
			ends = append(ends, p.Src)
		}
	}
	return ends
}

// splitPort splits HOST:PORT.
func splitPort(s string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err
}

// nobody is a ticket of a camera that there is not: of the bundled protocol, with another key; nil: nobody knows how to make one.
func nobody(ticket []byte) []byte {
	label, ok := labelOf(ticket)
	if !ok {
		return nil
	}
	label.Key[0] ^= 0x55
	label.Key[7] ^= 0xAA
	return []byte(label.String())
}
