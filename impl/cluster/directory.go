package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

// entry is what the directory says of a camera.
type entry struct {
	Node  string     `cbor:"0,keyasint"`
	Epoch uint64     `cbor:"1,keyasint"`
	Stamp uint64     `cbor:"2,keyasint"` // of the camera's handshake there
	State wire.State `cbor:"3,keyasint"` // online, left or silent
	Since int64      `cbor:"4,keyasint"` // of that, Unix seconds
}

// holding is a camera that is served here, or was until a moment ago.
type holding struct {
	key     identity.PublicKey
	stamp   uint64
	since   time.Time
	state   wire.State
	rev     uint64    // of our entry; 0: there is none that we know
	written time.Time // our entry
	busy    bool      // a worker is at it
	again   bool      // it has changed since
}

// Observe takes the core's events, on the core's goroutine.
func (n *Node) Observe(e any) {
	switch e := e.(type) {
	case rendezvous.Online:
		v, _ := n.core.Load().Describe(e.Key, rendezvous.Camera)
		n.hold(e.UID, holding{key: e.Key, stamp: v.Stamp, since: e.At, state: wire.StateOnline})
	case rendezvous.Offline:
		n.unhold(e)
	case rendezvous.Moved:
		n.guestMoved(e.UID)
	case rendezvous.Left:
		n.guestLeft(e.Viewer)
	case rendezvous.Tied:
		n.ties.push(func() { n.saveTie(e.Tie) })
	case rendezvous.Untied:
		n.ties.push(func() { n.dropTie(e.Tie) })
	}
}

// hold announces a camera.
func (n *Node) hold(uid identity.UID, h holding) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.held[uid]; old != nil {
		h.rev, h.busy, h.again, h.written = old.rev, old.busy, old.again, old.written
		*old = h
	} else {
		n.held[uid] = &h
	}
	n.settle(uid)
}

// unhold says that a camera has gone.
func (n *Node) unhold(e rendezvous.Offline) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.held[e.UID]
	if h == nil {
		return
	}
	switch h.since = e.At; e.Cause {
	case rendezvous.CauseGoodbye, rendezvous.CauseUntrusted:
		h.state = wire.StateLeft
	case rendezvous.CauseElsewhere, rendezvous.CauseDraining: // another node says where it is, or will
		h.state = wire.StateUnavailable
	default:
		h.state = wire.StateSilent
	}
	n.settle(e.UID)
}

// settle has a worker write what is true of a camera. The caller holds mu.
func (n *Node) settle(uid identity.UID) {
	h := n.held[uid]
	if h.busy {
		h.again = true
		return
	}
	if n.cameras == nil && h.state == wire.StateOnline {
		return // until NATS is back
	}
	h.busy = n.claims.push(func() { n.write(uid) })
}

// announceAll has everything announced that is served here.
func (n *Node) announceAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for uid := range n.held {
		n.settle(uid)
	}
}

// refresh writes entries again that could not be written, and from time to time those that would expire.
func (n *Node) refresh() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cameras == nil {
		return
	}
	for uid := range n.failed {
		if n.held[uid] != nil {
			n.settle(uid)
		} else {
			delete(n.failed, uid)
		}
	}
	now := n.cfg.Now()
	if now.Sub(n.refreshed) < refresh/100 {
		return
	}
	n.refreshed = now
	for uid, h := range n.held {
		if !h.busy && now.Sub(h.written) > refresh {
			n.settle(uid)
		}
	}
}

// write makes a camera's entry true.
func (n *Node) write(uid identity.UID) {
	n.mu.Lock()
	h := n.held[uid]
	if h == nil {
		n.mu.Unlock()
		return
	}
	now := *h
	h.again = false
	n.mu.Unlock()
	rev, err := n.put(uid, now)
	n.mu.Lock()
	defer n.mu.Unlock()
	h.busy = false
	switch {
	case err == nil:
		h.rev, h.written = rev, n.cfg.Now()
		delete(n.failed, uid)
	case !errors.Is(err, errHeld) && h.state == wire.StateOnline:
		n.failed[uid] = true
	}
	switch {
	case h.again:
		n.settle(uid)
	case h.state != wire.StateOnline && n.held[uid] == h:
		delete(n.held, uid)
	}
}

var errHeld = errors.New("another node that lives has it")

// put writes a camera's entry, and returns its revision.
func (n *Node) put(uid identity.UID, h holding) (rev uint64, err error) {
	kv, _ := n.buckets()
	switch {
	case kv == nil:
		return 0, errAway
	case h.state == wire.StateUnavailable:
		return 0, nil
	case h.state != wire.StateOnline:
		if h.rev == 0 {
			return 0, nil
		}
		return n.update(kv, uid, h, h.rev) // a conflict says that it is another's by now
	}
	rev = h.rev
	for range 5 {
		got, err := n.update(kv, uid, h, rev)
		if err == nil {
			n.count(func(s *Stats) { s.Claims++ })
			n.cleared(uid, h.key)
			return got, nil
		}
		if !conflict(err) {
			return 0, err
		}
		e, at, err := n.look(kv, uid)
		if err != nil {
			return 0, err
		}
		rev = at
		if e.State != wire.StateOnline || e.Node == n.cfg.Name || !n.lives(e.Node, e.Epoch) {
			continue
		}
		n.count(func(s *Stats) { s.Conflicts++ })
		if e.Stamp > h.stamp {
			n.do(func(now time.Time) { n.core.Load().Release(now, h.key) })
			return 0, errHeld
		}
		if n.challenge(e.Node, e.Epoch, h.key) {
			n.cfg.Log.Warn("a camera's key is in use at two nodes: one of the two devices is a copy", "uid", uid.String(), "node", e.Node)
			n.suspect(uid)
			n.do(func(now time.Time) { n.core.Load().Expel(now, h.key, wire.CodeDuplicateKey) })
			return 0, errHeld
		}
		if got, err = n.update(kv, uid, h, rev); err == nil {
			n.send(e.Node, &letter{Kind: kindRelease, Device: h.key, Stamp: h.stamp})
			n.cleared(uid, h.key)
			return got, nil
		}
	}
	return 0, fmt.Errorf("announce camera: %w", err)
}

// suspect notes that a camera was sent away as a copy, and is to be cleared should it turn out to be the camera after all. Of too
// many some are not noted: they wait for as long as the core doubts them.
func (n *Node) suspect(uid identity.UID) {
	const most = 4096
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.suspects) >= most {
		clear(n.suspects)
	}
	n.suspects[uid] = true
}

// cleared tells the core that a camera which it doubts is held by nobody else.
func (n *Node) cleared(uid identity.UID, camera identity.PublicKey) {
	n.mu.Lock()
	doubted := n.suspects[uid]
	delete(n.suspects, uid)
	n.mu.Unlock()
	if doubted {
		n.do(func(now time.Time) { n.core.Load().Claimed(now, camera) })
	}
}

// update writes an entry over the one of a revision; 0: over none.
func (n *Node) update(kv jetstream.KeyValue, uid identity.UID, h holding, rev uint64) (uint64, error) {
	b, err := cbor.Marshal(entry{Node: n.cfg.Name, Epoch: n.epoch, Stamp: h.stamp, State: h.state, Since: h.since.Unix()})
	if err != nil {
		return 0, err
	}
	if b, err = n.secrets.seal(n.cfg.Rand, uid.Compact(), b); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timeout)
	defer cancel()
	return kv.Update(ctx, uid.Compact(), b, rev)
}

// conflict says whether an entry was not written because it is another one by now.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// look reads a camera's entry; the zero one where there is none.
func (n *Node) look(kv jetstream.KeyValue, uid identity.UID) (e entry, rev uint64, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timeout)
	defer cancel()
	got, err := kv.Get(ctx, uid.Compact())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, 0, nil
	}
	if err != nil {
		return entry{}, 0, err
	}
	e, err = n.readEntry(uid, got.Value())
	if err != nil { // written by somebody else: as good as none, and to be overwritten
		n.count(func(s *Stats) { s.Bad++ })
		return entry{}, got.Revision(), nil
	}
	return e, got.Revision(), nil
}

func (n *Node) readEntry(uid identity.UID, b []byte) (e entry, err error) {
	plain, err := n.secrets.open(uid.Compact(), b)
	if err == nil {
		err = decoding.Unmarshal(plain, &e)
	}
	if err == nil && (!nameable(e.Node) || e.State > wire.StateSilent) {
		err = errEntry
	}
	return e, err
}

// find is the node that serves a camera, another one; "": none does. For a while after a node's end, while one is
// behind with its announcements, and where the directory has no quorum, all nodes are asked for whom it does not know.
func (n *Node) find(uid identity.UID) string {
	kv, _ := n.buckets()
	if kv == nil {
		return ""
	}
	e, _, err := n.look(kv, uid)
	if err == nil && e.State == wire.StateOnline && e.Node != n.cfg.Name && n.lives(e.Node, e.Epoch) {
		return e.Node
	}
	n.mu.Lock()
	unsure := err != nil || n.cfg.Now().Before(n.unsure)
	n.mu.Unlock()
	if unsure {
		return n.seek(uid)
	}
	return ""
}

// seek asks all nodes for a camera.
func (n *Node) seek(uid identity.UID) string { return n.anyone(&letter{Kind: kindSeek, UID: uid}) }

// anyone asks all nodes something, until one says yes or all have said no, and returns the one that did.
func (n *Node) anyone(l *letter) string {
	n.mu.Lock()
	others := len(n.alive())
	n.mu.Unlock()
	ref, answers := n.wait(others)
	defer n.forgetWait(ref)
	l.Ref = ref
	n.send("", l)
	end := time.NewTimer(n.cfg.Timeout)
	defer end.Stop()
	for range others {
		select {
		case l := <-answers:
			if l.Alive {
				return l.Node
			}
		case <-end.C:
			return ""
		case <-n.ctx.Done():
			return ""
		}
	}
	return ""
}

// sought answers seek.
func (n *Node) sought(l *letter) {
	n.send(l.Node, &letter{Kind: kindHere, Ref: l.Ref, Alive: n.serves(l.UID)})
}

// challenge asks the node that holds a camera whether the camera is still there. A node that does not even say that it asks has
// ended, though that may not have been noticed yet; where one that lives asks and does not get to the end, the camera stays.
func (n *Node) challenge(node string, epoch uint64, camera identity.PublicKey) bool {
	ref, answers := n.wait(2)
	defer n.forgetWait(ref)
	n.send(node, &letter{Kind: kindChallenge, Device: camera, Ref: ref})
	end := time.NewTimer(n.cfg.Timeout / 3)
	defer end.Stop()
	for asks := false; ; {
		select {
		case l := <-answers:
			if !l.Answer { // it asks, and will say
				return l.Alive
			}
			asks = true
			end.Reset(challengePings*maxChallenge + n.cfg.Timeout)
		case <-end.C:
			return asks && n.lives(node, epoch)
		case <-n.ctx.Done():
			return false
		}
	}
}

const (
	challengePings = 2 // to a camera, each with as long to answer; one may be lost
	minChallenge   = 150 * time.Millisecond
	maxChallenge   = 2 * time.Second
	// challengeStep is how often a camera that was asked is looked at.
	challengeStep = 20 * time.Millisecond
)

// challenged asks a camera that is served here, and answers the node that wants it.
func (n *Node) challenged(l *letter) {
	alive := false
	for range challengePings {
		if alive = n.askCamera(l.Device); alive || n.ctx.Err() != nil {
			break
		}
	}
	n.send(l.Node, &letter{Kind: kindVerdict, Ref: l.Ref, Alive: alive})
}

// askCamera pings a camera that is served here, and says whether it answered in time.
func (n *Node) askCamera(camera identity.PublicKey) (alive bool) {
	var begun time.Time
	var number uint64
	var trip time.Duration
	n.do(func(now time.Time) {
		begun = now
		number, trip = n.core.Load().Challenge(now, camera)
	})
	if number == 0 {
		return false
	}
	defer n.do(func(time.Time) { n.core.Load().EndChallenge(camera) })
	end := time.NewTimer(min(max(2*trip, minChallenge), maxChallenge))
	defer end.Stop()
	step := time.NewTicker(challengeStep)
	defer step.Stop()
	for waiting := true; waiting && !alive; {
		select {
		case <-step.C:
		case <-end.C:
			waiting = false
		case <-n.ctx.Done():
			return false
		}
		n.do(func(time.Time) { alive = n.core.Load().Answered(camera, number, begun) })
	}
	return alive
}

// released lets a camera go that another node has taken over.
func (n *Node) released(l *letter) {
	n.do(func(now time.Time) {
		core := n.core.Load()
		if v, ok := core.Describe(l.Device, rendezvous.Camera); ok && v.Stamp < l.Stamp {
			core.Release(now, l.Device)
		}
	})
}
