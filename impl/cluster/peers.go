package cluster

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/rendezvous"
)

// peer is another node.
type peer struct {
	name      string
	epoch     uint64
	endpoints []netip.AddrPort
	heard     time.Time
	dead      bool
	trunk     *trunk
}

// hello says that this node lives; with answer, others are asked to say so too.
func (n *Node) hello(answer bool) {
	if n.nc.IsConnected() {
		n.send("", &letter{Kind: kindHello, Endpoints: n.cfg.Endpoints, Answer: answer, Behind: n.behind()})
	}
}

// behind says that a camera here may not be in the directory yet: it cannot be written to, or many have come at once.
func (n *Node) behind() bool {
	waiting := n.claims.len() > 0
	n.mu.Lock()
	defer n.mu.Unlock()
	return waiting || len(n.failed) > 0
}

// greeted takes another node's hello.
func (n *Node) greeted(l *letter) {
	n.mu.Lock()
	p := n.peers[l.Node]
	fresh := p == nil || p.dead || p.epoch != l.Epoch
	var was *peer
	if p == nil || p.epoch != l.Epoch {
		if p != nil && !p.dead {
			was = p
		}
		if p != nil {
			delete(n.trunks, p.epoch)
			n.bury(p.epoch)
		}
		p = &peer{name: l.Node, epoch: l.Epoch}
		p.trunk = n.secrets.trunk(n.epoch, l.Epoch)
		n.peers[l.Node], n.trunks[l.Epoch] = p, p
	}
	now := n.cfg.Now()
	p.endpoints, p.heard, p.dead = l.Endpoints, now, false
	if until := now.Add(2 * n.cfg.Hello); l.Behind && n.unsure.Before(until) {
		n.unsure = until
	}
	n.mu.Unlock()
	if was != nil {
		n.lost(was)
	}
	if fresh {
		n.cfg.Log.Info("another node is there", "node", l.Node)
		n.lookForMissing()
	}
	if l.Answer || fresh {
		n.hello(false)
	}
}

// bury notes a process that another one of its node's has followed. NATS could bring its letters once more, to have the living one
// taken for dead. The caller holds mu.
func (n *Node) bury(epoch uint64) {
	const most = 4096
	if len(n.buried) >= most {
		clear(n.buried)
	}
	n.buried[epoch] = true
}

// past says whether a process has ended.
func (n *Node) past(epoch uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buried[epoch]
}

// left takes another node's goodbye.
func (n *Node) left(l *letter) {
	n.mu.Lock()
	p := n.peers[l.Node]
	if p == nil || p.epoch != l.Epoch || p.dead {
		n.mu.Unlock()
		return
	}
	p.dead = true
	n.mu.Unlock()
	n.lost(p)
}

// reap notices nodes that have gone silent. While NATS is away, and for a while after, silence says nothing.
func (n *Node) reap() {
	now := n.cfg.Now()
	n.mu.Lock()
	var gone []*peer
	if n.settled(now) {
		for _, p := range n.peers {
			if !p.dead && now.Sub(p.heard) > n.cfg.Dead {
				p.dead = true
				gone = append(gone, p)
			}
		}
	}
	n.mu.Unlock()
	for _, p := range gone {
		n.lost(p)
	}
}

// settled says whether every node that lives has had time to say so. The caller holds mu.
func (n *Node) settled(now time.Time) bool { return n.cameras != nil && now.Sub(n.since) > n.cfg.Dead }

// lost does what follows from a node's end.
func (n *Node) lost(p *peer) {
	if n.ctx.Err() != nil {
		return
	}
	n.cfg.Log.Warn("a node has ended", "node", p.name)
	n.mu.Lock()
	if until := n.cfg.Now().Add(2 * n.cfg.Keepalive); n.unsure.Before(until) {
		n.unsure = until
	}
	n.mu.Unlock()
	n.do(func(now time.Time) { n.core.Load().NodeGone(now, p.name) })
	n.orphaned(p)
}

// alive lists the nodes that live. The caller holds mu.
func (n *Node) alive() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(n.peers)) {
		if !n.peers[name].dead {
			names = append(names, name)
		}
	}
	return names
}

// lives says whether an entry's node lives. Until all had time to say so, a node that is not known counts as alive.
func (n *Node) lives(name string, epoch uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name == n.cfg.Name {
		return epoch == n.epoch
	}
	p := n.peers[name]
	if p == nil {
		return !n.settled(n.cfg.Now())
	}
	return p.epoch == epoch && !p.dead
}

// letter takes what another node sent.
func (n *Node) letter(subject string, b []byte) {
	plain, err := n.secrets.open(subject, b)
	var l *letter
	if err == nil {
		l, err = unmarshal(plain)
	}
	if err != nil {
		n.count(func(s *Stats) { s.Bad++ })
		return
	}
	if l.Node == n.cfg.Name {
		n.own(l)
		return
	}
	if n.past(l.Epoch) {
		n.count(func(s *Stats) { s.Bad++ })
		return
	}
	switch l.Kind {
	case kindHello:
		n.greeted(l)
	case kindBye:
		n.left(l)
	case kindVisit:
		n.visited(l)
	case kindLeft:
		n.do(func(now time.Time) { n.core.Load().Leave(now, l.Node, l.Device, l.Role) })
	case kindTell:
		n.told(l)
	case kindCall:
		n.called(l)
	case kindSeek:
		n.sought(l)
	case kindHere, kindVerdict:
		n.answered(l)
	case kindChallenge:
		// At once: however much there is to do here, who is held is not given up.
		n.send(l.Node, &letter{Kind: kindVerdict, Ref: l.Ref, Answer: true})
		n.asks.push(func() { n.challenged(l) })
	case kindRelease:
		n.released(l)
	}
}

// own takes a letter with this node's name: its own to all, or one of another process with the same name.
func (n *Node) own(l *letter) {
	if l.Epoch == n.epoch {
		return
	}
	n.mu.Lock()
	first := !n.double && l.Kind == kindHello
	n.double = n.double || first
	n.mu.Unlock()
	if first {
		n.cfg.Log.Error("another process has this node's name: give each node its own", "node", n.cfg.Name)
	}
}

// wait prepares for up to most answers.
func (n *Node) wait(most int) (ref uint64, answers chan *letter) {
	answers = make(chan *letter, most)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ref++
	n.waits[n.ref] = answers
	return n.ref, answers
}

func (n *Node) forgetWait(ref uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.waits, ref)
}

// answered hands an answer to who waits for it.
func (n *Node) answered(l *letter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.waits[l.Ref] <- l: // a nil channel takes nothing
	default:
	}
}

var _ rendezvous.Others = (*Node)(nil)
var _ rendezvous.Datagrams = (*Node)(nil)
