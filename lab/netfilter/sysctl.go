package netfilter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
)

// sysctls are the settings that a router has changed.
type sysctls struct {
	changed map[string]string // conntrack timeout → the kernel's own value
	six     nat.IPv6Mode      // the mode that route6 has last seen
}

// route makes the namespace forward.
func (s *sysctls) route(ns *netns.NS) error {
	return ns.Do(func() error {
		const v4 = "net/ipv4/"
		// First: it resets some of the others.
		if err := write(v4+"ip_forward", "1"); err != nil {
			return err
		}
		// A UDP packet from the LAN gets its external, so local, source before it is routed.
		if err := write(v4+"conf/all/accept_local", "1"); err != nil {
			return err
		}
		// One ICMP error a second would make a rejecting router look like a dropping one.
		if err := write(v4+"icmp_ratelimit", "0"); err != nil {
			return err
		}
		// An error comes from the side that the packet came from (RFC 1812 §4.3.2.4), though the packet's source is
		// translated by then.
		if err := write(v4+"icmp_errors_use_inbound_ifaddr", "1"); err != nil {
			return err
		}
		// Namespaces inherit what the host's distribution chose; a packet that is turned around must not be
		// taken for a spoofed one, nor its sender be told of a better way. A device that loses one address keeps
		// the others.
		devices, err := filepath.Glob("/proc/sys/" + v4 + "conf/*")
		if err != nil {
			return err
		}
		for _, d := range devices {
			for _, set := range [][2]string{{"rp_filter", "0"}, {"send_redirects", "0"}, {"promote_secondaries", "1"}} {
				if err := write(v4+"conf/"+filepath.Base(d)+"/"+set[0], set[1]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// route6 makes the namespace forward IPv6, or not.
func (s *sysctls) route6(ns *netns.NS, mode nat.IPv6Mode) error {
	if (mode == nat.IPv6None) == (s.six == nat.IPv6None) {
		return nil
	}
	forward := "1"
	if mode == nat.IPv6None {
		forward = "0"
	}
	err := ns.Do(func() error {
		return errors.Join(write("net/ipv6/conf/all/forwarding", forward), write("net/ipv6/icmp/ratelimit", "0"))
	})
	if err == nil {
		s.six = mode
	}
	return err
}

// timeouts has conntrack forget no later than the sets do: its translation must not outlive theirs.
func (s *sysctls) timeouts(ns *netns.NS, b nat.Behavior) error {
	want := map[string]time.Duration{}
	d := b.WithDefaults()
	switch {
	case b.Kind == nat.Translate:
		want["tcp_be_liberal"] = 1 * time.Second // 1: a segment outside the window is translated like any other
		want["tcp_timeout_established"] = d.TCPEstablished
		for state, usual := range transitoryStates {
			if life := transitory(d, state); life < usual {
				want[state] = life
			}
		}
	case b.Kind == nat.Masquerade: // zero: as Linux ships it
		for key, t := range map[string]time.Duration{
			"udp_timeout": b.UDPTimeout, "udp_timeout_stream": b.UDPTimeout, "icmp_timeout": b.ICMPTimeout, "tcp_timeout_established": b.TCPEstablished,
		} {
			if t != 0 {
				want[key] = t
			}
		}
		for state := range transitoryStates {
			if life := transitory(b, state); life != 0 {
				want[state] = life
			}
		}
	}
	if len(want) == 0 && len(s.changed) == 0 {
		return nil
	}
	return ns.Do(func() error { return s.change(want) })
}

// transitory is how long a behavior keeps a connection in one of the transitoryStates.
func transitory(b nat.Behavior, state string) time.Duration {
	if b.TCPSynTimeout != 0 && (state == "tcp_timeout_syn_sent" || state == "tcp_timeout_syn_recv") {
		return b.TCPSynTimeout
	}
	return b.TCPTransitory
}

// transitoryStates are conntrack's timeouts of TCP connections that are not established, with Linux's values.
var transitoryStates = map[string]time.Duration{
	"tcp_timeout_syn_sent": 120 * time.Second, "tcp_timeout_syn_recv": 60 * time.Second,
	"tcp_timeout_fin_wait": 120 * time.Second, "tcp_timeout_close_wait": 60 * time.Second,
	"tcp_timeout_last_ack": 30 * time.Second, "tcp_timeout_time_wait": 120 * time.Second, "tcp_timeout_close": 10 * time.Second,
}

// change writes the wanted timeouts and gives the others their old values back.
func (s *sysctls) change(want map[string]time.Duration) error {
	const dir = "net/netfilter/nf_conntrack_"
	for key, old := range s.changed {
		if _, still := want[key]; still {
			continue
		}
		if err := write(dir+key, old); err != nil {
			return err
		}
		delete(s.changed, key)
	}
	for key, t := range want {
		if _, done := s.changed[key]; !done {
			old, err := os.ReadFile("/proc/sys/" + dir + key)
			if err != nil {
				return fmt.Errorf("read sysctl: %w", err)
			}
			if s.changed == nil {
				s.changed = map[string]string{}
			}
			s.changed[key] = string(old)
		}
		if err := write(dir+key, strconv.Itoa(int(t/time.Second))); err != nil {
			return err
		}
	}
	return nil
}

func write(key, value string) error {
	err := os.WriteFile("/proc/sys/"+key, []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a device that has gone, or a setting that this kernel does not have
	}
	if err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	return nil
}
