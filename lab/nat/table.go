package nat

import (
	"fmt"
	"net/netip"
	"time"
)

// Table is a router's translator and filter. It is pure: the same calls give the same answers, byte for byte. It is
// not safe for concurrent use.
type Table struct {
	cfg    Config
	counts Counts
}

// NewTable returns an empty table.
func NewTable(c Config) (*Table, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("make NAT table: %w", err)
	}
	return &Table{cfg: c}, nil
}

// Translate decides about a packet that comes from a side, and rewrites it in place if it passes. Now must not go back.
// Checksums must be complete. The TTL is not the table's business.
func (t *Table) Translate(now time.Duration, from Side, b []byte) Verdict {
	v := Verdict{Reason: Unsupported}
	if len(b) > 0 && b[0]>>4 == 6 {
		v = t.translate6(now, from, b)
	}
	t.counts[v.Reason]++
	return v
}

// Next returns what the calls before caused besides their verdicts: ICMP errors, resets and fragments that were held.
// Take them all before the next call of another method.
func (t *Table) Next() (Emission, bool) { return Emission{}, false }

// Deadline returns when Advance has something to send, and false if nothing is due.
func (t *Table) Deadline() (time.Duration, bool) { return 0, false }

// Advance lets time pass: mappings end, and resets that waited fall due (see Next).
func (t *Table) Advance(now time.Duration) {}

// Reset forgets everything, as a reboot does; all that is drawn begins again from seed.
func (t *Table) Reset(seed uint64) { t.cfg.Seed, t.counts = seed, Counts{} }

// Apply gives the router another behavior. It implies a Reset.
func (t *Table) Apply(b Behavior, seed uint64) error {
	c := t.cfg
	c.Behavior = b
	if err := c.validate(); err != nil {
		return fmt.Errorf("apply behavior: %w", err)
	}
	t.cfg = c
	t.Reset(seed)
	return nil
}

// SetExternal gives the router other external addresses. All mappings are lost, those that were asked for too.
func (t *Table) SetExternal(addrs []netip.Addr) error {
	c := t.cfg
	c.External = addrs
	if err := c.validate(); err != nil {
		return fmt.Errorf("set external addresses: %w", err)
	}
	t.cfg = c
	return nil
}

// Map makes a port mapping or renews it, and returns its external endpoint. An internal endpoint that has one keeps
// it, whatever port is wanted.
func (t *Table) Map(now time.Duration, m PortMap) (netip.AddrPort, error) {
	return netip.AddrPort{}, fmt.Errorf("map port: %w", ErrNoAddress)
}

// Unmap ends the port mapping of m's protocol and internal endpoint, or if that is zero, of its external port.
func (t *Table) Unmap(now time.Duration, m PortMap) error {
	return fmt.Errorf("unmap port: %w", ErrNotMapped)
}

// PortMaps returns the port mappings with their external ports and what is left of their lifetimes, in the order of
// protocol and external port.
func (t *Table) PortMaps(now time.Duration) []PortMap { return nil }

// Len is the number of mappings.
func (t *Table) Len() int { return 0 }

// Counts returns how many packets met which end since NewTable, Reset or Apply.
func (t *Table) Counts() Counts { return t.counts }
