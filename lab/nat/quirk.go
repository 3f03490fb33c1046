package nat

import "slices"

// mappingFor is the mapping behavior towards a remote endpoint (Behavior.LenientPorts).
func (t *Table) mappingFor(remote endpoint) Dependency {
	if len(t.b.LenientPorts) > 0 && slices.Contains(t.b.LenientPorts, remote.port) {
		return EndpointIndependent
	}
	return t.b.Mapping
}

// filteringFor is the filtering behavior towards a remote endpoint.
func (t *Table) filteringFor(remote endpoint) Dependency {
	if len(t.b.LenientPorts) > 0 && slices.Contains(t.b.LenientPorts, remote.port) {
		return EndpointIndependent
	}
	return t.b.Filtering
}

// keepOutEarly remembers who has sent to an external endpoint before it might (Behavior.InboundFirstBlock). More of the
// same does not prolong it.
func (t *Table) keepOutEarly(f flow) {
	if t.b.InboundFirstBlock > 0 && f.proto == protoUDP && !t.keptOut(f) {
		t.pin(blockPin, f.proto, f.local, f.remote, t.after(int64(t.b.InboundFirstBlock)))
	}
}

// keptOut tells whether an inbound packet's sender has been too early.
func (t *Table) keptOut(f flow) bool {
	return t.b.InboundFirstBlock > 0 && t.findPin(blockPin, f.proto, f.local, f.remote) != none
}

// flows is how many the router has: its mappings, and the remotes besides the first in their filters.
func (t *Table) flows() int { return t.maps.n - t.aliases + t.pins.n - t.strays }

// crash has the router forget everything but what it was asked for, and start again (Behavior.FlowLimit). Random orders
// go on elsewhere, as after any reboot.
func (t *Table) crash() {
	now, counts, asked := t.now, t.counts, t.statics
	t.forget(scramble(t.cfg.Seed))
	t.counts = counts
	t.now, t.down = now, now+int64(t.b.CrashTime)
	t.restore(asked)
}

// restore gives port mappings back to a table that has none.
func (t *Table) restore(asked statics) {
	t.statics = asked
	for _, s := range asked.list {
		if t.b.Kind != NoNAT {
			t.ports.take(s.proto, s.ext)
		}
		if s.expires != never {
			t.timers.push(due{s.expires, dueStatic | s.number, s.gen})
		}
	}
}
