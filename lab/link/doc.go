// Package link impairs packets: delay, jitter, loss, reordering, duplication, corruption, rate, queue and MTU.
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
