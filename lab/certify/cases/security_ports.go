package cases

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// openPorts is SEC-9: a neighbour in the camera's LAN tries its ports, all of them or, in brief, those that cameras are known for, the
// lowest 1,024, the declared ones and a sample of the others; while it idles, and while it streams.
//
//	neighbour ── SYN, or datagrams of known protocols ──► port ──► SYN-ACK, or any datagram: open
//	                                                          └──► RST, ICMP, silence: not
//
// A port counts as scanned when the probe was seen at the camera.
func openPorts(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	n, err := newNeighbour(s, x, camera)
	if err != nil {
		return s.Judge(err)
	}
	defer n.hold.Close()
	if err := n.pass(ctx, "while the camera idles"); err != nil {
		return s.Judge(cmp.Or(camera.Fault(), err))
	}
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err == nil {
		err = v.WaitFrames(ctx, 30)
	}
	if err == nil {
		n.viewer, n.heard, n.began = v, x.Tape().Mark(), time.Now()
		err = n.pass(ctx, "in mid-stream")
	}
	if err != nil {
		return s.Judge(cmp.Or(camera.Fault(), err))
	}
	if why := silent(n.media, n.began, time.Now()); why != "" {
		return s.Inconclusive("the second scan was not in mid-stream: %s", why)
	}
	return n.judge()
}

// neighbour is a host in the camera's LAN that scans it.
type neighbour struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	host   string
	from   netip.AddrPort // its own
	to     netip.Addr
	hold   *net.UDPConn // so that its kernel refuses no answer
	ports  []uint16
	open   map[certify.Port]string // how it was found out
	closed map[certify.Port]bool   // refused
	own    map[uint16]bool         // local UDP ports of the camera's own flows
	quiet  map[uint16]string       // answers from these
	viewer *stage.View             // that watches during the scan; nil: none does
	heard  int                     // the tape's position up to which its media is in media
	media  []tape.Packet
	began  time.Time // that scan
}

// scanPort is the one from which all probes come.
const scanPort = 61616

func newNeighbour(s *stage.Stage, x *stage.Set, camera *stage.Camera) (*neighbour, error) {
	m := x.Host("on-path")
	n := &neighbour{
		s: s, x: x, camera: camera, host: m.Name, from: netip.AddrPortFrom(m.Addr(), scanPort), open: map[certify.Port]string{},
		closed: map[certify.Port]bool{}, own: map[uint16]bool{}, quiet: map[uint16]string{},
	}
	i := slices.IndexFunc(camera.Addrs(), netip.Addr.Is4)
	if i < 0 {
		return nil, fmt.Errorf("scan the camera: it has no IPv4 address among %v", camera.Addrs())
	}
	n.to = camera.Addrs()[i]
	n.ports = wantedPorts(s)
	var err error
	n.hold, err = m.ListenUDP(n.from)
	return n, err
}

// wantedPorts are those to be scanned, in a random order, the declared ones first.
func wantedPorts(s *stage.Stage) []uint16 {
	var some []uint16
	if draw := rand.New(rand.NewPCG(s.Seed(0), 0)); s.Brief() {
		some = slices.Clone(cameraPorts)
		for _, p := range probes() {
			some = append(some, p.port)
		}
		for i := range uint16(1024) {
			some = append(some, i+1)
		}
		for range 300 {
			some = append(some, 1+uint16(draw.IntN(65535)))
		}
		slices.Sort(some)
		some = slices.DeleteFunc(slices.Compact(some), func(p uint16) bool { return p == 0 })
		draw.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	} else {
		for _, i := range draw.Perm(65535) {
			some = append(some, uint16(i+1))
		}
	}
	var first []uint16
	for _, p := range s.Decl().Bounds.Ports {
		first = append(first, p.Number)
	}
	return append(first, slices.DeleteFunc(some, func(p uint16) bool { return slices.Contains(first, p) })...)
}

const (
	scanRate = 6000 // packets a second: the camera is to be looked at, not flooded
	scanPart = 4096 // ports between two looks at the answers
	scanWait = 400 * time.Millisecond
)

// pass scans all ports once.
func (n *neighbour) pass(ctx context.Context, when string) error {
	tp := n.x.Tape()
	last := tp.Mark()
	for _, protocol := range []string{"tcp", "udp"} {
		arrived := 0
		for part := range slices.Chunk(n.ports, scanPart) {
			from := tp.Mark()
			got, err := n.part(ctx, protocol, part)
			if err != nil {
				return err
			}
			arrived += got
			n.look(last, when)
			n.listen()
			tp.Forget(last) // what is late is among the next part's
			last = from
		}
		n.s.Saw("ports", arrived)
		n.s.Note("%s: %d of %d %s ports were scanned: a probe of each was seen at the camera", when, arrived, len(n.ports), protocol)
		if arrived < len(n.ports) {
			return fmt.Errorf("%d of %d probes of %s ports did not arrive at the camera, each sent three times", len(n.ports)-arrived,
				len(n.ports), protocol)
		}
	}
	err := n.s.Pause(ctx, n.s.For(2*time.Second, scanWait)) // for late answers
	n.look(last, when)
	n.listen()
	return err
}

// listen keeps when media came to the viewer.
func (n *neighbour) listen() {
	if n.viewer == nil {
		return
	}
	from := n.heard
	n.heard = n.x.Tape().Mark()
	for _, p := range n.x.Tape().Packets(from, mediaTo(n.viewer)) {
		n.media = append(n.media, tape.Packet{At: p.At})
		n.s.Saw("media", 1)
	}
}

// longestSilence is how long a stream may pause, and still be one.
const longestSilence = 10 * time.Second

// silent says why media that came in a time is no stream that ran all the time; empty: it is.
func silent(media []tape.Packet, t0, t1 time.Time) string {
	switch gaps := tape.Gaps(media, t0, t1, longestSilence); {
	case len(media) == 0:
		return fmt.Sprintf("no media came to the viewer in its %v", t1.Sub(t0).Round(time.Second))
	case len(gaps) > 0:
		return fmt.Sprintf("for %v, from %v after its beginning, no media came to the viewer", gaps[0].Length().Round(time.Second),
			gaps[0].From.Sub(t0).Round(time.Second))
	}
	return ""
}

// part scans some ports, and those again whose probe did not arrive.
func (n *neighbour) part(ctx context.Context, protocol string, ports []uint16) (arrived int, err error) {
	from, left := n.x.Tape().Mark(), ports
	for range 3 {
		if err := n.shoot(ctx, protocol, left); err != nil {
			return 0, err
		}
		if err := n.s.Pause(ctx, scanWait/4); err != nil {
			return 0, err
		}
		seen := map[uint16]bool{}
		for _, p := range n.x.Tape().Packets(from, tape.CameTo(n.camera.Host()), tape.By(n.from.Addr()), transport(protocol)) {
			seen[p.Dst.Port()] = true
		}
		left = slices.DeleteFunc(slices.Clone(ports), func(p uint16) bool { return seen[p] })
		if len(left) == 0 {
			break
		}
	}
	return len(ports) - len(left), nil
}

func transport(protocol string) tape.Match {
	if protocol == "tcp" {
		return tape.TCP
	}
	return tape.UDP
}

// shoot sends the probes of ports.
func (n *neighbour) shoot(ctx context.Context, protocol string, ports []uint16) error {
	var shots []attack.Shot
	for _, port := range ports {
		to := netip.AddrPortFrom(n.to, port)
		if protocol == "tcp" {
			shots = append(shots, attack.Shot{From: n.from, To: to, SYN: true})
			continue
		}
		for _, b := range n.datagrams(port) {
			shots = append(shots, attack.Shot{From: n.from, To: to, B: b})
		}
	}
	return volley(ctx, n.x.Host(n.host), scanRate, shots)
}

// datagrams are what is sent to a UDP port: what its protocol asks, and lines; to those that are declared or in use, all that there is.
func (n *neighbour) datagrams(port uint16) (out [][]byte) {
	whole := n.own[port] || n.declared(certify.Port{Protocol: "udp", Number: port})
	for _, p := range probes() {
		if whole || p.port == port || p.port == 0 {
			out = append(out, p.b)
		}
	}
	return out
}

func (n *neighbour) declared(p certify.Port) bool { return slices.Contains(n.s.Decl().Bounds.Ports, p) }

// look reads the answers from a position of the tape on.
func (n *neighbour) look(from int, when string) {
	for _, p := range n.x.Tape().Packets(from, n.camera.Out()) {
		port := p.Src.Port()
		toUs := p.Dst.Addr() == n.from.Addr()
		switch {
		case p.Protocol == packet.ProtocolUDP && !toUs && !p.Dst.Addr().IsMulticast():
			n.own[port] = true
		case !toUs:
		case p.Protocol == packet.ProtocolTCP && p.Flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
			n.found(certify.Port{Protocol: "tcp", Number: port}, "took a connection "+when)
		case p.Protocol == packet.ProtocolTCP && p.Flags&packet.RST != 0:
			n.closed[certify.Port{Protocol: "tcp", Number: port}] = true
		case p.Protocol == packet.ProtocolUDP && n.own[port] && !n.declared(certify.Port{Protocol: "udp", Number: port}):
			if n.quiet[port] == "" {
				n.quiet[port] = when
				n.s.Note("udp/%d answers with %d bytes %s: a port of the camera's own flows, which is no open one", port, p.Size, when)
			}
		case p.Protocol == packet.ProtocolUDP:
			n.found(certify.Port{Protocol: "udp", Number: port}, fmt.Sprintf("answered with %d bytes %s", p.Size, when))
		case p.Protocol == packet.ProtocolICMP:
			if port, ok := refused(p.Payload); ok {
				n.closed[certify.Port{Protocol: "udp", Number: port}] = true
			}
		}
	}
}

func (n *neighbour) found(p certify.Port, how string) {
	if n.open[p] == "" {
		n.open[p] = how
		n.s.Note("%s/%d %s", p.Protocol, p.Number, how)
	}
}

// refused reads an ICMP message: which UDP port is unreachable (RFC 792).
func refused(b []byte) (port uint16, ok bool) {
	const about = 8
	if len(b) < about+packet.IPv4HeaderLen || b[0] != 3 || b[1] != 3 || b[about+9] != packet.ProtocolUDP {
		return 0, false
	}
	header := int(b[about]&15) * 4
	if len(b) < about+header+4 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[about+header+2:]), true
}

// judge compares what is open with what is declared.
func (n *neighbour) judge() certify.Result {
	var extra, missing []string
	for _, p := range slices.SortedFunc(maps.Keys(n.open), comparePorts) {
		if !n.declared(p) {
			extra = append(extra, fmt.Sprintf("%s/%d (%s)", p.Protocol, p.Number, n.open[p]))
		}
	}
	for _, p := range n.s.Decl().Bounds.Ports {
		if n.open[p] == "" && (p.Protocol == "tcp" || n.closed[p]) {
			missing = append(missing, fmt.Sprintf("%s/%d", p.Protocol, p.Number))
		}
	}
	n.s.Note("%d ports open, %d declared, %d that refused; %d media packets came to the viewer during the second scan", len(n.open),
		len(n.s.Decl().Bounds.Ports), len(n.closed), len(n.media))
	switch {
	case len(extra) > 0:
		shown := extra[:min(len(extra), 8)]
		return n.s.Fail("%d ports are open that are not declared: %s", len(extra), strings.Join(shown, ", "))
	case len(missing) > 0:
		return n.s.PassNonstrict("declared, and closed: %s", strings.Join(missing, ", "))
	}
	return n.s.Pass()
}

func comparePorts(a, b certify.Port) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
}
