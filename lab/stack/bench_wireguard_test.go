package stack

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// wireguardPort is the camera's.
const wireguardPort = 51820

// hereBind is wireguard-go's own UDP socket, opened in a namespace: devices open theirs whenever their TUN comes up.
type hereBind struct {
	conn.Bind
	do func(func() error) error
}

func (h hereBind) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	err = h.do(func() (err error) {
		fns, actual, err = h.Bind.Open(port)
		return err
	})
	return fns, actual, err
}

// hereTUN knows its MTU: the device would ask the namespace that its thread happens to be in.
type hereTUN struct{ tun.Device }

func (hereTUN) MTU() (int, error) { return wgdevice.DefaultMTU, nil }

// wireguard is one end of a tunnel: wireguard-go in this process, with a TUN device in the spot's namespace.
type wireguard struct {
	spot // inside the tunnel
	dev  *wgdevice.Device
	key  *ecdh.PrivateKey
}

func newWireguard(b *testing.B, at spot, addr netip.Addr) *wireguard {
	b.Helper()
	const name = "wg0"
	var t tun.Device
	if err := at.do(func() (err error) {
		t, err = tun.CreateTUN(name, wgdevice.DefaultMTU)
		return err
	}); err != nil {
		b.Skipf("no TUN device for wireguard-go: %v", err)
	}
	w := &wireguard{spot: spot{addr: addr, do: at.do}}
	errors := wgdevice.NewLogger(wgdevice.LogLevelError, "wireguard: ")
	w.dev = wgdevice.NewDevice(hereTUN{t}, hereBind{conn.NewStdNetBind(), at.do}, errors)
	b.Cleanup(w.dev.Close)
	var err error
	if w.key, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		b.Fatal(err)
	}
	if err := at.do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		addressed(b, nl, name, netip.PrefixFrom(addr, 24))
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return w
}

// meets has one end know the other, and where it is if that is valid.
func (w *wireguard) meets(b *testing.B, peer *wireguard, at netip.AddrPort, port int) {
	b.Helper()
	set := fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nallowed_ip=%s/32\n", hex.EncodeToString(w.key.Bytes()), port,
		hex.EncodeToString(peer.key.PublicKey().Bytes()), peer.addr)
	if at.IsValid() {
		set += fmt.Sprintf("endpoint=%s\n", at)
	}
	if err := w.dev.IpcSet(set); err != nil {
		b.Fatal(err)
	}
	if err := w.dev.Up(); err != nil {
		b.Fatal(err)
	}
}

// tunnelled sets a tunnel up and returns what has it carry datagrams.
func tunnelled(b *testing.B, cam, view spot) func(window int) flowed {
	b.Helper()
	netnstest.Require(b, "netns")
	camera, viewer := newWireguard(b, cam, netip.MustParseAddr("10.99.0.1")), newWireguard(b, view, netip.MustParseAddr("10.99.0.2"))
	at, err := cam.open(wireguardPort)
	if err != nil {
		b.Fatal(err)
	}
	camera.meets(b, viewer, netip.AddrPort{}, wireguardPort)
	viewer.meets(b, camera, at, 0)
	return func(window int) flowed {
		from, to := camera.listen(b, camera.addr, flowPort), viewer.listen(b, viewer.addr, 0)
		return flood(b, from, to, netip.AddrPortFrom(camera.addr, flowPort), window, false)
	}
}
