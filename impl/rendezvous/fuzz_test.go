package rendezvous

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func FuzzHandlePacket(f *testing.F) {
	f.Add([]byte{4, 1, 0, 0}, []byte{0x40, 0, 0, 1, 5})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := newRig(t, nil)
		c, v := r.camera(), r.viewer()
		v.send(connect(7, c))
		for _, p := range [][]byte{a, b} {
			r.give(c.addr, p)
			r.give(v.addr, p)
			r.advance(time.Second)
		}
		if r.s.Stats().Online != 1 {
			t.Error("the camera is gone")
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, m := range []wire.Message{
		&wire.Ping{Sequence: 1}, &wire.Pong{Sequence: 1}, &wire.Goodbye{}, &wire.IntroduceAck{ID: 1}, &wire.Refused{ID: 1, Code: 1},
		&wire.Report{Sequence: 1, Class: sequential}, &wire.Sample{ID: 7}, &wire.Again{ID: 7, Relay: true},
		&wire.LocatedAck{ID: 7, Sequence: 1, Code: 1}, &wire.Watch{Sequence: 1, Cameras: []identity.UID{uid(1)}}, &wire.PresenceAck{Sequence: 1},
	} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, b)
		f.Add(false, b)
	}
	f.Fuzz(func(t *testing.T, camera bool, plain []byte) {
		r := newRig(t, nil)
		c, v := r.camera(), r.viewer()
		v.send(connect(7, c))
		d := v
		if camera {
			d = c
		}
		if len(plain) > session.MaxPayload {
			return
		}
		r.give(d.addr, d.sess.Seal(nil, plain))
		r.give(addr("198.51.100.1:1"), d.sess.Seal(nil, plain))
		r.advance(time.Minute)
	})
}
