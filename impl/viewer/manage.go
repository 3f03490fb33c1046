package viewer

import (
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// maxManage is how many questions to a camera may wait.
const maxManage = 16

// errAnswer says why a Managed is dropped.
var errAnswer = errors.New("answer to nothing that was asked")

// manage is what a camera is asked, one after the other: the first is on its way.
type manage struct {
	asked    []*wire.Manage
	sequence uint32
	due      time.Time
	gap      time.Duration
}

// Manage asks a camera that is connected about who may watch it, or to change that; its answer is Managed, with the number
// that Manage returns. It is asked again until it answers, one thing after the other. m's Sequence is set.
func (v *Viewer) Manage(now time.Time, camera identity.UID, m wire.Manage) (uint32, error) {
	v.box.Begin()
	a := v.watching(camera)
	switch {
	case a == nil || a.sess == nil:
		return 0, errors.New("manage: not connected with this camera; Connect, and wait for Connected")
	case len(a.manage.asked) >= maxManage:
		return 0, fmt.Errorf("manage: %d things are asked of this camera already; wait for Managed", maxManage)
	}
	m.Sequence = a.manage.sequence + 1
	if _, err := wire.Marshal(&m); err != nil {
		return 0, fmt.Errorf("manage: %w", err)
	}
	a.manage.sequence++
	if a.manage.asked = append(a.manage.asked, &m); len(a.manage.asked) == 1 {
		a.askFirst(now)
	}
	return m.Sequence, nil
}

// askFirst begins the question that is first now.
func (a *attempt) askFirst(now time.Time) {
	a.manage.due, a.manage.gap = time.Time{}, 0
	if len(a.manage.asked) > 0 {
		a.sendManage(now)
	}
}

// sendManage asks, and again after an RTO, doubling.
func (a *attempt) sendManage(now time.Time) {
	m := &a.manage
	a.sendControl(m.asked[0])
	m.gap = min(max(2*m.gap, a.rto()), maxUse)
	m.due = now.Add(m.gap)
}

// managed takes the camera's answer.
func (a *attempt) managed(now time.Time, m *wire.Managed) error {
	if len(a.manage.asked) == 0 || a.manage.asked[0].Sequence != m.Sequence {
		return errAnswer
	}
	op := a.manage.asked[0].Op
	a.manage.asked = a.manage.asked[1:]
	a.askFirst(now)
	a.v.box.Emit(Managed{Camera: a.uid, At: now, Sequence: m.Sequence, Op: op, Code: m.Code, Members: m.Members, Next: m.Next})
	return nil
}

// RequestKeyFrame asks a camera that is connected for a key frame soon, for who begins to watch now.
func (v *Viewer) RequestKeyFrame(now time.Time, camera identity.UID) {
	v.box.Begin()
	if a := v.watching(camera); a != nil && a.receiver != nil {
		a.receiver.RequestKeyFrame(now)
		a.deliver(now, a.shown)
	}
}

// sendControl sends by the path in use; of one that is doubted, by the relay too.
func (a *attempt) sendControl(m wire.Message) {
	a.send(a.path, core.Control, a.seal(m))
}
