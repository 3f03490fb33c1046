package stack

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/lab"
)

// mapTimeout is how long a device waits for its router to map a port. Who is on the same LAN answers within milliseconds.
const mapTimeout = 400 * time.Millisecond

// hosted is a device on one of the lab's hosts.
type hosted struct {
	*device.Device
	machine *lab.Machine
	turn    *allocation
	forget  func()
}

// network is a host's, for a program that lives there.
func network(m *lab.Machine) device.Network {
	return device.Network{
		Addrs: m.Addrs, Gateway: m.Gateway(), ListenUDP: m.ListenUDP, ListenTCP: m.ListenTCP, DialTCP: m.DialTCP,
		ListenPacket: m.ListenPacket, DialContext: m.DialContext,
	}
}

// openDevice opens the sockets that a policy needs on a host.
func openDevice(m *lab.Machine, p punch.Policy, port uint16) (*hosted, error) {
	d, err := device.Open(network(m), p, port)
	if err != nil {
		return nil, err
	}
	return &hosted{Device: d, machine: m}, nil
}

// borrow gets the device an allocation at a TURN server.
func (d *hosted) borrow(ctx context.Context, server netip.AddrPort) (err error) {
	if d.turn, err = allocate(ctx, d.machine, server); err != nil {
		return err
	}
	d.Lend(d.turn.relayed)
	return nil
}

// announce lets events suspend the device's program.
func (d *hosted) announce() { d.forget = d.machine.Run(sleeper{d.Node()}) }

// sleeper lets an event suspend a program. Nobody starts it again, so it cannot be killed (see Bundled.Programs).
type sleeper struct{ node *node.Node }

func (s sleeper) Kill()        {}
func (s sleeper) Start() error { return nil }
func (s sleeper) Sleep()       { s.node.Suspend() }
func (s sleeper) Wake()        { s.node.Resume() }

// close ends everything that the device has.
func (d *hosted) close() error {
	if d.forget != nil {
		d.forget()
	}
	err := d.Close()
	if d.turn != nil {
		err = errors.Join(err, d.turn.close())
	}
	return err
}
