package live

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
)

var (
	anAttachment = attachment{kind: kindPacket, dst: [6]byte{1, 2, 3, 4, 5, 6}, src: [6]byte{7}, name: "home",
		routed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		up: link.Impairment{Delay: time.Second, Jitter: 2, KeepOrder: true, Loss: 0.1, Burst: &link.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossGood: 0.3, LossBad: 0.4},
			Reorder: 0.5, ReorderBy: 3, Duplicate: 0.6, Corrupt: 0.7, Rate: 8, QueueBytes: 9, MTU: 1400}}
	someStats = fabric.Stats{Lateness: fabric.Lateness{P50: 1, P99: 2, Max: 3, N: 4}, Uplinks: []fabric.UplinkStats{
		{Name: "a", Up: fabric.Count{Packets: 1, Bytes: 2}, Down: fabric.Count{Packets: 3, Bytes: 4}, Drops: link.Drops{link.Lost: 5, link.Overload: 6}},
		{Name: "b"},
	}}
)

func encoded(f func(*encoder)) []byte {
	var e encoder
	f(&e)
	return e.b
}

func TestMessagesSurviveTheWay(t *testing.T) {
	prefixes := cmpopts.EquateComparable(netip.Prefix{})
	d := decoder{b: encoded(func(e *encoder) { e.attachment(anAttachment) })}
	if diff := cmp.Diff(anAttachment, d.attachment(), cmp.AllowUnexported(attachment{}), prefixes); diff != "" || d.err != nil || len(d.b) != 0 {
		t.Errorf("attachment (-sent +got), %v, %d bytes left:\n%s", d.err, len(d.b), diff)
	}
	d = decoder{b: encoded(func(e *encoder) { e.stats(someStats) })}
	if diff := cmp.Diff(someStats, d.stats()); diff != "" || d.err != nil || len(d.b) != 0 {
		t.Errorf("stats (-sent +got), %v, %d bytes left:\n%s", d.err, len(d.b), diff)
	}
}

func TestMessagesCutOff(t *testing.T) {
	for n := range encoded(func(e *encoder) { e.attachment(anAttachment) }) {
		d := decoder{b: encoded(func(e *encoder) { e.attachment(anAttachment) })[:n]}
		if d.attachment(); d.err == nil {
			t.Errorf("an attachment of %d bytes was accepted", n)
		}
	}
	for n := range encoded(func(e *encoder) { e.stats(someStats) }) {
		d := decoder{b: encoded(func(e *encoder) { e.stats(someStats) })[:n]}
		if d.stats(); d.err == nil {
			t.Errorf("stats of %d bytes were accepted", n)
		}
	}
}

// FuzzDecode: no message of the other process makes this one panic.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(func(e *encoder) { e.attachment(anAttachment) }))
	f.Add(encoded(func(e *encoder) { e.stats(someStats) }))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a := decoder{b: b}
		a.attachment()
		s := decoder{b: b}
		s.stats()
	})
}
