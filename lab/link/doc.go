// Package link impairs packets: delay, jitter, loss, reordering, duplication, corruption, rate or trace, queue and its
// management, and MTU.
//
// A Queue is one direction of one access link. It keeps no packets: it answers when a packet that arrives now reaches
// the other end, or why it never does. Whoever asks keeps the packet until then.
//
//	            ┌────────────────────────── Queue.Next ──────────────────────────┐
//	            │       ┌ MTU ┐  ┌ loss ┐  ┌ burst ┐  ┌─ queue ──┐  ┌ travel ──┐  │
//	packet, now ─┼──────►│     ├─►│      ├─►│       ├─►│ ▮▮▮ rate ├─►│ delay    ├──┼─► due (and due of a copy)
//	            │       └──┬──┘  └──┬───┘  └───┬───┘  └────┬─────┘  │ ± jitter │  │
//	            │          ▼        ▼          ▼           ▼        └──────────┘  │
//	            └──────────────────────── why it was dropped ────────────────────┘
//
// The rate needs no event per packet: freeAt is the time at which everything accepted so far has been sent, so a
// packet starts at max(now, freeAt), and what waits before it is (freeAt − now) × rate.
//
// A Trace replaces the rate by the moments at which something may be sent, as mahimahi does; the queue's backlog then
// is the opportunities that are spoken for. CoDel (RFC 8289) is decided when a packet arrives: the queue is first in,
// first out, so its sojourn time is known then. A packet that CoDel will drop takes no room in the queue; with the
// rest the RFC's own algorithm agrees packet by packet (TestCoDelIsRFC8289), but for its clause that spares the last
// MTU of the queue, which the future decides: here the target is never below the transmission time of an MTU, at the
// trace's mean rate where there is a trace. ECN bits are no business of a link: CoDel drops, it does not mark.
//
// # Randomness
//
// No generator is shared. The number that decides one thing about one packet is a hash of
//
//	(seed, flow, n: the packet's place in its flow, purpose: loss, jitter, …)
//
// so that switching jitter on does not move a single loss, and packets of two flows that race each other to the link
// do not change each other's fate. A flow is what the caller says it is; lab/fabric takes the two addresses and the
// protocol and leaves the ports out, because kernels and NATs choose those at random and a repeated trial must repeat.
// The state of burst loss belongs to the flow for the same reason.
//
// A Queue has no clock: the time is an argument, counted from any origin that stays the same. It is not safe for
// concurrent use.
package link
