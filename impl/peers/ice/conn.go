package ice

import (
	"net"
	"net/netip"

	"github.com/pion/transport/v5"
)

// udpConn is a counted UDP socket.
type udpConn struct {
	transport.UDPConn
	net *Net
}

func (c *udpConn) Close() error {
	c.net.forget(c.UDPConn)
	return c.UDPConn.Close()
}

func (c *udpConn) received(b []byte, from net.Addr) {
	if u, ok := from.(*net.UDPAddr); ok && u != nil {
		c.net.Meter.received(b, unmap(u.AddrPort()))
	}
}

func (c *udpConn) Read(b []byte) (n int, err error) {
	n, err = c.UDPConn.Read(b)
	c.received(b[:n], c.UDPConn.RemoteAddr())
	return n, err
}

func (c *udpConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	n, from, err = c.UDPConn.ReadFrom(b)
	c.received(b[:n], from)
	return n, from, err
}

func (c *udpConn) ReadFromUDP(b []byte) (n int, from *net.UDPAddr, err error) {
	n, from, err = c.UDPConn.ReadFromUDP(b)
	c.received(b[:n], from)
	return n, from, err
}

func (c *udpConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, from *net.UDPAddr, err error) {
	n, oobn, flags, from, err = c.UDPConn.ReadMsgUDP(b, oob)
	c.received(b[:n], from)
	return n, oobn, flags, from, err
}

func (c *udpConn) Write(b []byte) (int, error) {
	c.net.Meter.sent(b)
	return c.UDPConn.Write(b)
}

func (c *udpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.net.Meter.sent(b)
	return c.UDPConn.WriteTo(b, to)
}

func (c *udpConn) WriteToUDP(b []byte, to *net.UDPAddr) (int, error) {
	c.net.Meter.sent(b)
	return c.UDPConn.WriteToUDP(b, to)
}

func (c *udpConn) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (int, int, error) {
	c.net.Meter.sent(b)
	return c.UDPConn.WriteMsgUDP(b, oob, to)
}

// tcpConn is a counted TCP connection, of signalling or of TURN. Pion writes each of TURN's messages in one piece; in what is
// read they are found again.
type tcpConn struct {
	transport.TCPConn
	net  *Net
	turn *unframe // nil: signalling
	from netip.AddrPort
}

func (c *tcpConn) Close() error {
	c.net.forget(c.TCPConn)
	return c.TCPConn.Close()
}

func (c *tcpConn) Read(b []byte) (n int, err error) {
	n, err = c.TCPConn.Read(b)
	if c.turn != nil {
		c.turn.feed(b[:n], func(message []byte) { c.net.Meter.received(message, c.from) })
	}
	return n, err
}

func (c *tcpConn) Write(b []byte) (int, error) {
	if c.turn == nil {
		c.net.Meter.sentOther(len(b))
	} else {
		c.net.Meter.sent(b)
	}
	return c.TCPConn.Write(b)
}

type listener struct {
	*net.TCPListener
	net *Net
}

func (l *listener) Accept() (net.Conn, error) { return l.AcceptTCP() }

func (l *listener) AcceptTCP() (transport.TCPConn, error) {
	c, err := l.TCPListener.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return l.net.stream(c, true)
}

func (l *listener) Close() error {
	l.net.forget(l.TCPListener)
	return l.TCPListener.Close()
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
