package soak

import (
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

// inquirer is a viewer whom nobody has paired, and who asks the rendezvous for cameras. It is another one, on another host, each time
// that the last has asked as much as it is granted: a key costs nothing.
type inquirer struct {
	scene  *scene
	tally  *tally
	noise1 []byte // an initiation that no camera opens
	viewer *dialog
	asked  int
}

// Limits of what the rendezvous grants.
const (
	granted = 25                    // questions of one key's
	later   = 20 * time.Millisecond // when a question is put again that was one too many
)

// fresh gives it a viewer of whom the rendezvous still takes a question.
func (q *inquirer) fresh() error {
	if q.viewer != nil && q.asked < granted {
		q.asked++
		return nil
	}
	q.leave()
	c := q.scene
	key, err := identity.NewKey(c.random2())
	if err != nil {
		return err
	}
	q.viewer, err = dial(c.nextSeat(), c.at, c.key.Public(), key, c.random2(), &wire.Login{Version: wire.ProtocolVersion})
	q.asked = 1
	return err
}

// spend has the next question come from another viewer.
func (q *inquirer) spend() { q.asked = granted }

func (q *inquirer) leave() {
	if q.viewer != nil {
		q.viewer.leave()
		q.viewer = nil
	}
}

// ask asks for a camera until the rendezvous has time for that.
func (q *inquirer) ask(camera identity.UID) (heard, error) {
	for {
		if err := q.fresh(); err != nil {
			return heard{}, err
		}
		h, err := connect(q.viewer, camera, q.noise1)
		if err != nil {
			return heard{}, err
		}
		if r, ok := h.message.(*wire.Refused); !ok || r.Code != wire.CodeRateLimited {
			return h, nil
		}
		q.tally.saw("questions that were put off as too many", 1)
		q.spend()
		time.Sleep(later)
	}
}

// unopened is an initiation that no camera opens: it is to nobody.
func (c *scene) unopened() ([]byte, error) {
	nobody, err := identity.NewKey(c.random)
	if err != nil {
		return nil, err
	}
	return stranger(nobody.Public(), c.random)
}

// stranger is a viewer's initiation to a camera, by a key of nobody's, without a right proof.
func stranger(camera identity.PublicKey, random *rand.ChaCha8) ([]byte, error) {
	return one(attack.Kinds(attack.ToCamera, camera, random), "initiation, valid, by a new key")
}

// connect asks for a camera.
func connect(d *dialog, camera identity.UID, noise1 []byte) (heard, error) {
	id := drawID()
	return d.ask(&wire.Connect{ID: id, Camera: camera, Noise1: noise1}, func(m wire.Message) bool {
		switch m := m.(type) {
		case *wire.Peer:
			return m.ID == id
		case *wire.Refused:
			return m.ID == id
		}
		return false
	})
}

// drawID is the id of a question. All have as many bytes.
func drawID() uint64 { return rand.Uint64() | 1<<63 }
