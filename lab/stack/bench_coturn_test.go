package stack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"github.com/punchlab/punchlab/impl/wire"
)

// beginCoturn starts coturn, allocates a relayed address and binds a channel to each receiver (RFC 8656 §§7, 12).
func beginCoturn(b *testing.B, clients, relays spot, want relayLoad) (s relay) {
	b.Helper()
	s.addr = netip.AddrPortFrom(relays.addr, turnPort)
	dir := b.TempDir()
	cmd := exec.Command("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "/dev/null",
		"--pidfile", filepath.Join(dir, "pid"), "--userdb", filepath.Join(dir, "db"), "--no-auth",
		"--listening-ip", relays.addr.String(), "--relay-ip", relays.addr.String(),
		"--listening-port", strconv.Itoa(turnPort), "--relay-threads", "1")
	if err := relays.do(cmd.Start); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
	})
	s.pid = cmd.Process.Pid
	s.from = clients.listen(b, clients.addr, 0)
	udp := stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}} // by IP protocol
	askTURN(b, s, stun.MethodAllocate, udp)
	for i := range want.receivers {
		conn := clients.listen(b, clients.addr, 0)
		s.to = append(s.to, conn)
		channel := uint16(wire.MinChannel + i)
		number := stun.RawAttribute{Type: stun.AttrChannelNumber, Value: binary.BigEndian.AppendUint32(nil, uint32(channel)<<16)}
		askTURN(b, s, stun.MethodChannelBind, number, peerAddress(*conn.LocalAddr().(*net.UDPAddr)))
		frame, err := wire.AppendChannelData(nil, channel, make([]byte, want.size))
		if err != nil {
			b.Fatal(err)
		}
		s.frames = append(s.frames, frame)
	}
	return s
}

// peerAddress is XOR-PEER-ADDRESS (RFC 8656 §18.3).
type peerAddress net.UDPAddr

func (p peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.IP, Port: p.Port}.AddToAs(m, stun.AttrXORPeerAddress)
}

// askTURN asks a TURN server until it answers: it may have just been started.
func askTURN(b *testing.B, s relay, method stun.Method, attrs ...stun.Setter) {
	b.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)...)
	if err != nil {
		b.Fatal(err)
	}
	defer s.from.SetReadDeadline(time.Time{})
	buf := make([]byte, 2048)
	for end := time.Now().Add(joinTimeout); time.Now().Before(end); {
		_, _ = s.from.WriteToUDPAddrPort(m.Raw, s.addr) // may say that an earlier one found nobody
		_ = s.from.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := s.from.Read(buf)
		answer := &stun.Message{Raw: buf[:n]}
		if err != nil || answer.Decode() != nil || answer.TransactionID != m.TransactionID {
			continue
		}
		if answer.Type.Class != stun.ClassSuccessResponse {
			b.Fatalf("coturn answers %v to %v", answer, m)
		}
		return
	}
	b.Fatalf("coturn at %v does not answer", s.addr)
}
