package tape

import "time"

// Sent is what a host has sent in all, and in its busiest second: what there was no more room for, too.
type Sent struct {
	Bytes, Packets         int64 // bytes from the IP header on
	PeakBytes, PeakPackets int64 // in one second of the clock, not always the same one
}

// sending is Sent, and what of it is of the second that goes on.
type sending struct {
	Sent
	second         int64
	bytes, packets int64
}

// count adds a packet to what a host has sent.
func (t *Tape) count(host string, at time.Time, size int) {
	s := t.sent[host]
	if s == nil {
		s = &sending{}
		t.sent[host] = s
	}
	if now := at.Unix(); now != s.second {
		s.second, s.bytes, s.packets = now, 0, 0
	}
	s.bytes, s.packets = s.bytes+int64(size), s.packets+1
	s.Bytes, s.Packets = s.Bytes+int64(size), s.Packets+1
	s.PeakBytes, s.PeakPackets = max(s.PeakBytes, s.bytes), max(s.PeakPackets, s.packets)
}

// Sent is what a host has sent so far.
func (t *Tape) Sent(host string) Sent {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sent[host]; s != nil {
		return s.Sent
	}
	return Sent{}
}
