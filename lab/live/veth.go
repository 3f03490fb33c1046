package live

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// newVeth makes a veth pair between the namespace and core, and a packet socket on core's end. serial tells the
// devices of one core apart.
func newVeth(ns, core *netns.NS, serial uint32, c deviceConfig) (*device, error) {
	d := &device{kind: kindPacket, fd: -1, nl: -1, host: mac(serial, 1), far: mac(serial, 2)}
	far := fmt.Sprintf("u%d", serial)
	if err := removeFormer(ns, c.name); err != nil {
		return nil, err
	}
	err := core.Do(func() error {
		nl, err := openNetlink()
		if err != nil {
			return err
		}
		defer unix.Close(nl)
		var b batch
		// The fabric's end takes whatever a link may carry; the site's end has the link's MTU.
		b.veth(far, d.far, link.MaxMTU, c.name, d.host, ns.FD())
		if err := b.do(nl); err != nil {
			return fmt.Errorf("device %q: %w", c.name, err)
		}
		index, err := indexOf(far)
		if err != nil {
			return err
		}
		b = batch{}
		b.quiet(index)
		b.up(index, 0, 0, true)
		if err := b.do(nl); err != nil {
			return fmt.Errorf("the fabric's end: %w", err)
		}
		d.fd, err = openPacketSocket(index)
		return err
	})
	if err == nil {
		err = ns.Do(func() (err error) {
			if d.nl, err = openNetlink(); err != nil {
				return err
			}
			if d.index, err = indexOf(c.name); err != nil {
				return err
			}
			if err := offloadsOff(c.name); err != nil {
				return err
			}
			return d.configure(c)
		})
	}
	if err != nil {
		d.abandon()
		return nil, err
	}
	return d, nil
}

// removeFormer takes a device away that a closed net left: its other end's namespace is being removed, but the kernel
// takes its time.
func removeFormer(ns *netns.NS, name string) error {
	return ns.Do(func() error {
		index, err := indexOf(name)
		if err != nil || index == 0 {
			return err
		}
		nl, err := openNetlink()
		if err != nil {
			return err
		}
		defer unix.Close(nl)
		var b batch
		b.remove(index)
		if err := b.do(nl); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove the former device %q: %w", name, err)
		}
		return nil
	})
}

// mac is a locally administered address.
func mac(serial uint32, end byte) [6]byte {
	return [6]byte{2, end, byte(serial >> 24), byte(serial >> 16), byte(serial >> 8), byte(serial)}
}

// packetBuffer is what a packet socket may hold, in bytes of kernel memory; the kernel grants an ordinary user less
// (net.core.rmem_max).
const packetBuffer = 8 << 20

// networkOrder is an EtherType as packet sockets have it, on the little-endian machines that this runs on, and others.
func networkOrder(v uint16) uint16 { return order.Uint16([]byte{byte(v >> 8), byte(v)}) }

var allProtocols = networkOrder(unix.ETH_P_ALL)

// openPacketSocket opens a socket for the whole frames of the device.
func openPacketSocket(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	for _, o := range []struct{ option, value int }{
		{unix.PACKET_IGNORE_OUTGOING, 1}, // what the fabric sends is not for it
		{unix.PACKET_QDISC_BYPASS, 1},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o.option, o.value); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("set up packet socket: %w", err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind packet socket: %w", err)
	}
	return fd, nil
}

// offloadsOff makes the kernel send whole checksums and packets of at most the MTU through a device of the calling
// thread's namespace.
func offloadsOff(name string) error {
	const setTXChecksum, setTSO, setGSO = 0x17, 0x1f, 0x24 // ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("turn offloads off: %w", err)
	}
	defer unix.Close(s)
	for _, command := range []uint32{setTSO, setGSO, setTXChecksum} {
		value := struct{ command, data uint32 }{command, 0}
		var ifr struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(ifr.name[:], name)
		ifr.data = unsafe.Pointer(&value)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 {
			return fmt.Errorf("turn offload %#x of %q off: %w", command, name, e)
		}
	}
	return nil
}
