package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Serving is what is known of one viewer.
type Serving struct {
	Viewer  identity.UID
	Role    wire.Role // 0: Config has no Book
	Since   time.Time
	Heard   bool       // false: it is being answered
	Path    punch.Path // of the media
	Frames  int64      // access units sent
	Thinned int64      // access units left out
	Quality Quality
	Target  int           // what its path is taken to carry, bits per second; 0: unknown
	RTT     time.Duration // by RTCP; 0: unknown
	Loss    float64       // fraction of packets in its last report, 0 to 1
}

// Serving lists the viewers, the one that has been there for longest first.
func (c *Camera) Serving() []Serving {
	list := make([]Serving, 0, len(c.viewers))
	for _, v := range c.viewers {
		q := &v.stream.quality
		list = append(list, Serving{
			Viewer: v.key.UID(), Role: wire.Role(v.grant.Role), Since: v.started, Heard: v.confirmed, Path: v.path, Frames: v.stream.frames,
			Thinned: q.thinned, Quality: q.shown, Target: q.target, RTT: q.rtt, Loss: q.loss,
		})
	}
	return list
}
