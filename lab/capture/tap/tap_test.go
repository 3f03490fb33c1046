package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// TestEventsAreWritten: what the reader gives back of each kind of event.
func TestEventsAreWritten(t *testing.T) {
	lan, wan, far := netip.MustParseAddrPort("192.168.1.2:5000"), netip.MustParseAddrPort("203.0.113.1:6000"), netip.MustParseAddrPort("192.0.2.1:1")
	b := []byte{0x45, 1, 2, 3, 4, 5, 6, 7}
	l := Log{Origin: time.Hour, Snap: 6}
	file := l.AppendHeader(nil)
	for _, e := range []fabric.TapEvent{
		{T: 1, Where: fabric.AtStation, Name: "camera", Point: fabric.Sent, ID: 1, Packet: b},
		{T: 1, Where: fabric.AtRouter, Name: "home", Point: fabric.Outbound, ID: 1, Packet: b, Old: fabric.Endpoints{Src: lan, Dst: far}, New: fabric.Endpoints{Src: wan, Dst: far}},
		{T: 1, Where: fabric.AtUplink, Name: "home", Point: fabric.Sent, ID: 1, Packet: b, Cause: link.Lost},
		{T: 2, Where: fabric.AtUplink, Name: "home", Point: fabric.InCore, ID: 2, Packet: b, Cause: link.NoRoute},
		{T: 2, Where: fabric.AtUplink, Name: "home", Point: fabric.Arrived, ID: 3, Parent: 2, Packet: b[:4]},
		{T: 3, Where: fabric.AtRouter, Name: "home", Point: fabric.Inbound, ID: 3, Packet: b, Old: fabric.Endpoints{Src: far, Dst: wan}, Reason: nat.NoMapping},
		{T: 3, Where: fabric.AtRouter, Name: "home", Point: fabric.Inbound, ID: 4, Packet: b, Old: fabric.Endpoints{Src: far, Dst: wan}, Reason: nat.Held},
		{T: 3, Where: fabric.AtRouter, Name: "home", Point: fabric.Hairpin, ID: 5, Packet: b, Old: fabric.Endpoints{Src: lan, Dst: wan}, New: fabric.Endpoints{Src: wan, Dst: lan}},
		{T: 4, Where: fabric.AtStation, Name: "camera", Point: fabric.Delivered, ID: 6, Late: 30 * time.Microsecond, Packet: b},
	} {
		file = l.AppendEvent(file, e)
	}
	file = l.AppendMonitored(file, "home/camera", 5, pcapng.Outbound, b, 100)

	r, err := pcapng.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %d %v %d/%d %s\n", r.Interfaces()[p.Interface].Name, p.Time-r.Origin(), p.Dir, len(p.Data), p.Orig, strings.Join(p.Comments, "|"))
	}
	want := `station camera 1 out 6/8 id=1 at=sent
router home 1 out 6/8 id=1 at=outbound translated 192.168.1.2:5000→203.0.113.1:6000
uplink home 1 out 6/8 id=1 at=sent dropped: lost
uplink home 2 out 6/8 id=2 at=core dropped: no route
uplink home 2 in 4/4 id=3 parent=2 at=arrived
router home 3 in 6/8 id=3 at=inbound dropped: no mapping
router home 3 in 6/8 id=4 at=inbound held
router home 3 ? 6/8 id=5 at=hairpin translated 192.168.1.2:5000→203.0.113.1:6000 translated to 203.0.113.1:6000→192.168.1.2:5000
station camera 4 in 6/8 id=6 at=delivered late=30000
monitor home/camera 5 out 6/100 
`
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Error(d)
	}
}
