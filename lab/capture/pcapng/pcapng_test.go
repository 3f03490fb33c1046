package pcapng

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

var (
	lan4 = netip.MustParseAddrPort("192.168.1.2:5000")
	wan4 = netip.MustParseAddrPort("203.0.113.1:6000")
	lan6 = netip.MustParseAddrPort("[2001:db8::1]:5000")
	wan6 = netip.MustParseAddrPort("[2001:db8::2]:6000")
)

// sample is a small file: two interfaces at first and a third later, both families, cut packets, comments.
func sample() []byte {
	b := AppendHeader(nil, "punchlab test", 1700000000*time.Second, []Interface{{Name: "home", Description: "site home, uplink"}, {Name: "camera"}})
	p4 := packet.AppendUDP(nil, lan4, wan4, []byte("hello"))
	p6 := packet.AppendUDP(nil, lan6, wan6, []byte("hello over IPv6"))
	const t = 1700000000 * time.Second
	b = AppendPacket(b, 1, t, Outbound, p4, len(p4), Comment{ID: 1}.String())
	b = AppendPacket(b, 0, t+1, Outbound, p4, len(p4), Comment{ID: 1, At: "wan", Src: Change{lan4, wan4}}.String())
	b = AppendInterface(b, Interface{Name: "late"})
	b = AppendPacket(b, 2, t+2*time.Millisecond, Inbound, p6[:48], len(p6), Comment{ID: 2, Drop: "no mapping"}.AppendTo(nil))
	return AppendPacket(b, 2, t+time.Hour, Unknown, p6, len(p6), "")
}

// read returns what a file holds as text, a packet a line.
func read(b []byte) (string, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	var s strings.Builder
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			fmt.Fprintf(&s, "app %s, origin %v, interfaces %v", r.App(), r.Origin(), r.Interfaces())
			return s.String(), nil
		}
		if err != nil {
			return s.String(), err
		}
		fmt.Fprintf(&s, "%d %v %v %d/%d %q %s\n", p.Interface, p.Time, p.Dir, len(p.Data), p.Orig, p.Comments, hex.EncodeToString(p.Data[:min(len(p.Data), 1)]))
	}
}

func TestRoundTrip(t *testing.T) {
	got, err := read(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := `1 472222h13m20s out 33/33 ["id=1"] 45
0 472222h13m20.000000001s out 33/33 ["id=1 at=wan translated 192.168.1.2:5000→203.0.113.1:6000"] 45
2 472222h13m20.002s in 48/63 ["id=2 dropped: no mapping"] 60
2 472223h13m20s ? 63/63 [] 60
app punchlab test, origin 472222h13m20s, interfaces [{home site home, uplink} {camera } {late }]`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestEveryCutIsRefused: a file that ends within a block is refused at that block's offset, for every length.
func TestEveryCutIsRefused(t *testing.T) {
	b := sample()
	whole := 0
	for n := range b {
		got, err := read(b[:n])
		switch {
		case err == nil:
			whole++
			if strings.Count(got, "\n") > 4 {
				t.Errorf("%d bytes: %s", n, got)
			}
		case !strings.Contains(err.Error(), "offset "):
			t.Errorf("%d bytes: error without offset: %v", n, err)
		}
	}
	if whole != 7 {
		t.Errorf("%d of the cuts were accepted, want the 7 ends of blocks", whole)
	}
}

// TestSectionsFollowEachOther: each has its own interfaces and origin.
func TestSectionsFollowEachOther(t *testing.T) {
	b := AppendPacket(AppendHeader(nil, "one", 1, []Interface{{Name: "a"}}), 0, 5, Inbound, []byte{0x45}, 1, "")
	b = append(b, AppendPacket(AppendHeader(nil, "two", 2, []Interface{{Name: "b"}}), 0, 6, Inbound, []byte{0x45}, 1, "")...)
	got, err := read(b)
	want := "0 5ns in 1/1 [] 45\n1 6ns in 1/1 [] 45\napp two, origin 2ns, interfaces [{a } {b }]"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestBadFiles(t *testing.T) {
	le := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	header := AppendHeader(nil, "", 0, nil)
	iface := AppendHeader(nil, "", 0, []Interface{{Name: "a"}})
	patch := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	withPacket := AppendPacket(iface, 0, 1, Outbound, []byte{0x45, 0}, 2, "x")
	p := len(iface)
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "offset 0: the file ends after 0 bytes"},
		{"text", []byte("hello, world"), "offset 0: block type"},
		{"pcap", le("d4c3b2a1 02000400 00000000 00000000"), "offset 0: this is a pcap file"},
		{"byte order", patch(header, 8, 1, 2, 3, 4), "offset 0: byte-order magic"},
		{"version", patch(header, 12, 2), "offset 0: version 2.0"},
		{"lengths differ", patch(header, len(header)-4, 0), "offset 0: the block's lengths differ"},
		{"length no multiple of 4", append(bytes.Clone(header), le("01000000 11000000 00000000")...), "a block of 17 bytes"},
		{"length huge", append(bytes.Clone(header), le("01000000 fcffffff 00000000")...), "a block of 4294967292 bytes"},
		{"link type", patch(iface, len(header)+8, 105), fmt.Sprintf("offset %d: link type 105", len(header))},
		{"no interface", append(bytes.Clone(header), withPacket[p:]...), fmt.Sprintf("offset %d: packet of interface 0, but only 0", len(header))},
		{"kept more than room", patch(withPacket, p+20, 200), fmt.Sprintf("offset %d: packet of 6 bytes, 200 of them kept", p)},
		{"kept more than orig", patch(withPacket, p+24, 1), fmt.Sprintf("offset %d: packet of 1 bytes, 6 of them kept", p)},
		{"option too long", patch(withPacket, p+38, 0xff), fmt.Sprintf("offset %d: option 2 of 255 bytes", p)},
		{"time", patch(withPacket, p+12, 0xff, 0xff, 0xff, 0xff), fmt.Sprintf("offset %d: time is beyond", p)},
		{"simple packet", append(bytes.Clone(iface), le("03000000 10000000 00000000 10000000")...), "simple packet block"},
	} {
		_, err := read(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestForeignFiles: what other programs write. The file is big-endian, has Ethernet, microseconds by default, an
// offset, a binary resolution and a block that nobody knows.
func TestForeignFiles(t *testing.T) {
	u32 := func(vs ...uint32) (b []byte) {
		for _, v := range vs {
			b = append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		return b
	}
	block := func(typ uint32, body []byte) []byte {
		n := uint32(len(body) + 12)
		return append(append(u32(typ, n), body...), u32(n)...)
	}
	frame := append(bytes.Repeat([]byte{2}, 12), 0x08, 0x00, 0x45, 0)
	arp := append(bytes.Repeat([]byte{2}, 12), 0x08, 0x06, 0, 1)
	b := block(blockSection, u32(byteOrderMagic, 1<<16, 0xffffffff, 0xffffffff))
	b = append(b, block(blockInterface, u32(linkEthernet<<16, 0))...)
	b = append(b, block(blockInterface, append(u32(linkRaw<<16, 0), u32(14<<16|8, 0, 100, 9<<16|1, 0x81<<24)...))...)
	b = append(b, block(0xbad, u32(1, 2, 3))...)
	b = append(b, block(blockPacket, append(u32(0, 0, 5, 16, 60), frame...))...)
	b = append(b, block(blockPacket, append(u32(0, 0, 6, 16, 16), arp...))...)
	b = append(b, block(blockPacket, append(u32(1, 0, 3, 4, 4), frame[12:]...))...)
	got, err := read(b)
	want := "0 5µs ? 2/46 [] 45\n1 1m41.5s ? 4/4 [] 08\napp , origin 0s, interfaces [{ } { }]"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestOthersRead: tcpdump and tshark accept a file with several interfaces, IPv4 and IPv6, and tshark shows names and comments.
func TestOthersRead(t *testing.T) {
	netnstest.Require(t, "tcpdump", "tshark")
	name := filepath.Join(t.TempDir(), "sample.pcapng")
	if err := os.WriteFile(name, sample(), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		var stderr bytes.Buffer
		c := exec.Command(name, args...)
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		return string(out)
	}
	dump := run("tcpdump", "-nttr", name)
	for _, want := range []string{
		"1700000000.000000 IP 192.168.1.2.5000 > 203.0.113.1.6000: UDP, length 5",
		"IP6 2001:db8::1.5000 > 2001:db8::2.6000: UDP, length 15",
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("tcpdump lacks %q:\n%s", want, dump)
		}
	}
	shark := run("tshark", "-n", "-r", name, "-T", "fields", "-E", "separator=|", "-e", "frame.interface_name", "-e", "frame.time_epoch", "-e", "frame.packet_flags_direction", "-e", "frame.comment")
	want := `camera|1700000000.000000000|0x00000002|id=1
home|1700000000.000000001|0x00000002|id=1 at=wan translated 192.168.1.2:5000→203.0.113.1:6000
late|1700000000.002000000|0x00000001|id=2 dropped: no mapping
late|1700003600.000000000||
`
	if d := cmp.Diff(want, shark); d != "" {
		t.Error(d)
	}
}

func TestPacketsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type record struct {
			Time    time.Duration
			Dir     Direction
			Data    []byte
			Comment string
		}
		var want []record
		b := AppendHeader(nil, "", 0, []Interface{{Name: "a"}})
		for range rapid.IntRange(0, 5).Draw(t, "packets") {
			r := record{
				Time: time.Duration(rapid.Int64Min(0).Draw(t, "time")), Dir: Direction(rapid.IntRange(0, 2).Draw(t, "dir")),
				Data: rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "data"), Comment: rapid.StringN(0, 20, 40).Draw(t, "comment"),
			}
			want = append(want, r)
			b = AppendPacket(b, 0, r.Time, r.Dir, r.Data, len(r.Data), r.Comment)
		}
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var got []record
		for p, err := r.Next(); err == nil; p, err = r.Next() {
			got = append(got, record{p.Time, p.Dir, append([]byte{}, p.Data...), strings.Join(p.Comments, "\n")})
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestAppendingAllocatesNothing(t *testing.T) {
	p := packet.AppendUDP(nil, lan4, wan4, make([]byte, 1000))
	b, text := make([]byte, 0, 4096), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		text = Comment{ID: 17, At: "wan", Src: Change{lan4, wan4}, Drop: "filtered"}.AppendTo(text[:0])
		b = AppendPacket(b[:0], 3, 1, Inbound, p, len(p), text)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkAppendPacket(b *testing.B) {
	p := packet.AppendUDP(nil, lan4, wan4, make([]byte, 1000))
	buf, text := make([]byte, 0, 4096), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		text = Comment{ID: 17, At: "wan", Src: Change{lan4, wan4}}.AppendTo(text[:0])
		buf = AppendPacket(buf[:0], 3, 1, Inbound, p, len(p), text)
	}
}
