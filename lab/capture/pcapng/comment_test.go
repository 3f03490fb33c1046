package pcapng

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestComments(t *testing.T) {
	for _, c := range []struct {
		text string
		want Comment
	}{
		{"", Comment{}},
		{"id=17", Comment{ID: 17}},
		{"id=17 at=wan translated 192.168.1.2:5000→203.0.113.1:6000", Comment{ID: 17, At: "wan", Src: Change{lan4, wan4}}},
		{"id=17 translated to [2001:db8::1]:5000→[2001:db8::2]:6000", Comment{ID: 17, Dst: Change{lan6, wan6}}},
		{"translated 192.168.1.2:5000→203.0.113.1:6000 translated to 203.0.113.1:6000→192.168.1.2:5000 dropped: filtered",
			Comment{Src: Change{lan4, wan4}, Dst: Change{wan4, lan4}, Drop: "filtered"}},
		{"id=18 dropped: no mapping", Comment{ID: 18, Drop: "no mapping"}},
		{"id=19 parent=18 at=delivered late=120000 held", Comment{ID: 19, Parent: 18, At: "delivered", Late: 120 * time.Microsecond, Held: true}},
		{"dropped: dropped: dropped: x ", Comment{Drop: "dropped: dropped: x "}},
	} {
		got, err := ParseComment(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
		if s := c.want.String(); s != c.text {
			t.Errorf("%+v is written %q, want %q", c.want, s, c.text)
		}
	}
}

func TestBadComments(t *testing.T) {
	for text, want := range map[string]string{
		"id=":                       "a number from 1",
		"id=0":                      "a number from 1",
		"id=017":                    "a number from 1",
		"id=-1":                     "a number from 1",
		"id=1 ":                     "ends in a space",
		"id=1 id=1":                 "repeated",
		"at=x id=1":                 "another order",
		"held late=5":               "another order",
		"late=9223372036854775808":  "a number from 1",
		"parent=+1":                 "a number from 1",
		"at=":                       "no item",
		"translated":                "no item",
		"translated 1.2.3.4:5":      "not a change",
		"translated 1.2.3.4:5→x":    "not an ip:port",
		"dropped: ":                 "without a reason",
		"dropped":                   "no item",
		"a note that somebody made": "no item",
	} {
		if c, err := ParseComment(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", text, c, err, want)
		}
	}
}

// FuzzComment: what parses is written in a form that parses to the same.
func FuzzComment(f *testing.F) {
	f.Add("id=17 at=wan translated 192.168.1.2:5000→203.0.113.1:5000")
	f.Add("id=1 translated to [::ffff:1.2.3.4]:1→[fe80::1%eth0]:2 dropped: no mapping")
	f.Add("dropped: x")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseComment(s)
		if err != nil {
			return
		}
		if again, err := ParseComment(c.String()); err != nil || again != c {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", s, c, c.String(), again, err)
		}
	})
}

// FuzzReader: no file panics, and a packet is never larger than the file.
func FuzzReader(f *testing.F) {
	b := sample()
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		for err == nil {
			var p Packet
			if p, err = r.Next(); err == nil && (len(p.Data) > len(b) || p.Interface >= len(r.Interfaces()) || p.Time < 0) {
				t.Errorf("packet of %d bytes on interface %d at %v", len(p.Data), p.Interface, p.Time)
			}
		}
		if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "offset ") {
			t.Errorf("error without an offset: %v", err)
		}
	})
}
