package cloud

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
)

// sample is a small playlist with each kind of entry, and its keys.
func sample() (playlist, *partKeys) {
	name := partName{Start: epoch, Series: "1f3a9c02", First: 150}
	k := derive(testKey, testUID, name.String())
	p := playlist{Part: name, LostBefore: 140, Target: 4}
	p.add(segmentName{Seq: 150, Start: epoch, Duration: 4040 * time.Millisecond, Jump: true, MAC: [32]byte{1}})
	p.add(segmentName{Seq: 151, Start: epoch.Add(4040 * time.Millisecond), Duration: 4 * time.Second, MAC: [32]byte{2}})
	p.add(segmentName{Seq: 152, Start: epoch.Add(8040 * time.Millisecond), Duration: 4 * time.Second})
	p.add(segmentName{Seq: 153, Start: epoch.Add(20 * time.Second), Duration: 11600 * time.Millisecond, Jump: true, MAC: [32]byte{3}})
	p.Ended = true
	return p, &k
}

// RFC 8216 §4.3: what a player reads.
const wantPlaylist = `#EXTM3U
#EXT-X-VERSION:8
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-TARGETDURATION:12
#EXT-X-MEDIA-SEQUENCE:150
#EXT-X-KEY:METHOD=AES-128,URI="part.key"
#PUNCHLAB-PART:20261123T022000Z-1f3a9c02-00000150
#PUNCHLAB-LOST-BEFORE:140
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T02:20:00.000Z
#EXTINF:4.040,
00000150-20261123T022000000Z-4040-d-0100000000000000000000000000000000000000000000000000000000000000.ts
#EXTINF:4.000,
00000151-20261123T022004040Z-4000-c-0200000000000000000000000000000000000000000000000000000000000000.ts
#EXT-X-GAP
#EXTINF:4.000,
00000152-20261123T022008040Z-4000-c.lost
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T02:20:20.000Z
#EXTINF:11.600,
00000153-20261123T022020000Z-11600-d-0300000000000000000000000000000000000000000000000000000000000000.ts
#EXT-X-ENDLIST
#PUNCHLAB-MAC:`

func TestPlaylist(t *testing.T) {
	t.Parallel()
	p, k := sample()
	b := p.encode(k)
	if got := string(b[:len(b)-65]); got != wantPlaylist {
		t.Errorf("got\n%s\nwant\n%s", got, wantPlaylist)
	}
	if _, err := parsePlaylist(b, p.Part, k); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if _, err := parsePlaylist(b[:i], p.Part, k); err == nil {
			t.Fatalf("cut at byte %d it is taken", i)
		}
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, err := parsePlaylist(changed, p.Part, k); err == nil {
			t.Fatalf("with byte %d changed it is taken", i)
		}
	}
}

// What is signed, and not what a recorder writes, is refused and does no harm.
func FuzzPlaylist(f *testing.F) {
	p, k := sample()
	b := p.encode(k)
	f.Add(b[:bytes.LastIndex(b, []byte(macComment))])
	f.Add([]byte("#EXTM3U\n00000150-20261123T022000000Z-4040-d.lost\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		signed := append(bytes.Clone(body), macComment...)
		signed = append(signed, hexOf(k.playlistMAC(body))...)
		got, err := parsePlaylist(signed, p.Part, k)
		if err == nil && !bytes.Equal(got.encode(k), signed) {
			t.Errorf("parses, but is encoded otherwise")
		}
	})
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String() + "\n"
}

func FuzzNames(f *testing.F) {
	f.Add("20261123T022000Z-1f3a9c02-00000150")
	f.Add("00000150-20261123T022000040Z-4000-c-" + strings.Repeat("0a", 32) + ".ts")
	f.Add("00000152-20261123T022008040Z-4000-d.lost")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parsePartName(s); err == nil && n.String() != s {
			t.Errorf("part %q is written %q", s, n)
		}
		if n, err := parseSegmentName(s); err == nil && n.String() != s {
			t.Errorf("segment %q is written %q", s, n)
		}
	})
}

// Each part of each camera has keys of its own, and a change of a byte of a segment or its name is noticed.
func TestSeal(t *testing.T) {
	t.Parallel()
	p, k := sample()
	n := p.Entries[0]
	for _, size := range []int{1, 15, 16, 17, 188 * 7} {
		plain := bytes.Repeat([]byte{0x47, 1, 2}, size)[:size]
		s := k.seal(n.Seq)
		var streamed []byte
		for i := range plain { // byte by byte it is the same
			streamed = append(streamed, s.write(plain[i:i+1])...)
		}
		tail, mac := s.finish(n.facts())
		n.MAC = mac
		sealed := append(streamed, tail...)
		if got, err := k.open(n, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		for i := range sealed {
			sealed[i] ^= 0x80
			if _, err := k.open(n, sealed); !errors.Is(err, errForged) {
				t.Fatalf("%d bytes with byte %d changed: %v", size, i, err)
			}
			sealed[i] ^= 0x80
		}
		renamed := []segmentName{n, n, n, n}
		renamed[0].Seq++
		renamed[1].Start = n.Start.Add(time.Millisecond)
		renamed[2].Duration += time.Millisecond
		renamed[3].Jump = !n.Jump
		for _, r := range renamed {
			if _, err := k.open(r, sealed); !errors.Is(err, errForged) {
				t.Errorf("as %v it is taken", r)
			}
		}
		for _, other := range []partKeys{
			derive(Key{9}, testUID, p.Part.String()), derive(testKey, identity.PublicKey{8}.UID(), p.Part.String()),
			derive(testKey, testUID, "20261123T022000Z-1f3a9c02-00000151"),
		} {
			if _, err := other.open(n, sealed); !errors.Is(err, errForged) {
				t.Errorf("with another part's keys: %v", err)
			}
			if other.aes == k.aes {
				t.Error("two parts have one AES key")
			}
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "recording.key")
	k, err := LoadOrNewKey(path, bytes.NewReader(bytes.Repeat([]byte{5}, 32)))
	if err != nil || k[0] != 5 {
		t.Fatal(k[0], err)
	}
	if again, err := LoadOrNewKey(path, nil); err != nil || again != k {
		t.Errorf("read again: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil || os.Chmod(path, 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrNewKey(path, nil); err == nil || !strings.Contains(err.Error(), "is not a key file") {
		t.Errorf("a file that is no key: %v", err)
	}
}

// nals returns an access unit of NAL units of these types.
func nals(types ...byte) (b []byte) {
	for _, typ := range types {
		b = append(append(b, startCode...), typ, 0x80, typ)
	}
	return b
}

// MPEG-TS wants a delimiter before each picture, and a segment must be decodable alone: parameter sets that the source gives
// once are there in each.
func TestMuxerCompletes(t *testing.T) {
	t.Parallel()
	m, err := newMuxer()
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		au    media.AccessUnit
		first bool
		want  []byte
	}{
		{media.AccessUnit{Data: nals(7, 8, 5), Key: true}, true, nals(7, 8, 5)},
		{media.AccessUnit{Data: nals(1)}, false, nals(1)},
		{media.AccessUnit{Data: nals(6, 5), Key: true}, true, nals(7, 8, 6, 5)},
		{media.AccessUnit{Data: nals(7, 5), Key: true}, true, nals(8, 7, 5)},
		{media.AccessUnit{Data: nals(5), Key: true}, false, nals(5)},
		{media.AccessUnit{Data: append(bytes.Clone(delimiter), nals(1)...)}, true, nals(1)},
	} {
		b, err := m.write(tt.au, tt.first, false)
		if err != nil {
			t.Fatal(err)
		}
		if hasTables := b[1] == 0x40 && b[2] == 0; hasTables != (tt.first || tt.au.Key) {
			t.Errorf("%d: tables: %v", i, hasTables)
		}
		if n := bytes.Count(b, delimiter); n != 1 {
			t.Errorf("%d: %d delimiters", i, n)
		}
		if !bytes.Contains(b, append(bytes.Clone(delimiter), tt.want...)) {
			t.Errorf("%d: %x lacks %x", i, b, tt.want)
		}
	}
}

// Pictures of any size come out as they went in: the last packet's stuffing is where MPEG-TS is easily wrong.
func TestMuxerSizes(t *testing.T) {
	t.Parallel()
	m, err := newMuxer()
	if err != nil {
		t.Fatal(err)
	}
	var ts []byte
	var want []media.AccessUnit
	for size := range 500 {
		au := media.AccessUnit{Index: size, PTS: time.Duration(size) * 40 * time.Millisecond, Key: size == 0, Data: append(nals(5), make([]byte, size)...)}
		au.Data = append(au.Data, 0x80)
		b, err := m.write(au, size == 0, false)
		if err != nil || len(b)%packet != 0 {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		ts, want = append(ts, b...), append(want, au)
	}
	wantPictures(t, ts, want)
}

// The clock wraps after 26.5 hours.
func TestMuxerClock(t *testing.T) {
	t.Parallel()
	wrap := time.Duration(1<<clockBits-ptsOffset) * time.Second / 90000
	for pts, want := range map[time.Duration]int64{0: ptsOffset, time.Second: ptsOffset + 90000, wrap + time.Second: 90000 - 1} {
		if got := clock(pts, ptsOffset); got-want < -9 || got-want > 9 {
			t.Errorf("at %v the clock is %d, want %d", pts, got, want)
		}
	}
	if got := clock(100*365*24*time.Hour, ptsOffset); got < 0 || got >= 1<<clockBits {
		t.Errorf("after 100 years the clock is %d", got)
	}
}

// Whatever a store does to objects, it is told, and nothing forged is handed out.
func TestArchiveTells(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(*testing.T, *memory)
		says   string
		left   int // pictures
	}{
		{"a segment changed", func(t *testing.T, m *memory) { m.objects[m.find(t, "/00000001-")][1000] ^= 1 }, "segment 1: the HMAC does not match", 200},
		{"a segment lost", func(t *testing.T, m *memory) { delete(m.objects, m.find(t, "/00000001-")) }, "segment 1 is missing", 200},
		{"two exchanged", func(t *testing.T, m *memory) {
			a, b := m.find(t, "/00000000-"), m.find(t, "/00000001-")
			m.objects[a], m.objects[b] = m.objects[b], m.objects[a]
		}, "segment 0: the HMAC does not match", 100},
		{"one put twice", func(t *testing.T, m *memory) {
			name := m.find(t, "/00000001-")
			m.objects[strings.Replace(name, "/00000001-", "/00000003-", 1)] = m.objects[name]
		}, "segment 3, 00000003-2026112…, is not in the playlist", 300},
		{"no playlist", func(t *testing.T, m *memory) { delete(m.objects, m.find(t, playlistName)) }, "the playlist is missing", 300},
		{"a playlist cut short", func(t *testing.T, m *memory) {
			name := m.find(t, playlistName)
			b := m.objects[name]
			m.objects[name] = append(b[:bytes.Index(b, []byte("#EXTINF"))], "#EXT-X-ENDLIST\n"...)
		}, "the playlist: is not a playlist of ours", 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			r := newRig(t, m, nil)
			r.pour(12 * time.Second)
			r.close()
			tt.damage(t, m)
			a := Archive{Store: m, UID: testUID, Key: testKey}
			parts, err := a.Parts(context.Background())
			if err != nil || len(parts) != 1 {
				t.Fatal(parts, err)
			}
			var ts bytes.Buffer
			rep, err := a.Read(context.Background(), parts[0], Join(&ts))
			if err != nil || len(rep.Problems) == 0 || !strings.Contains(errors.Join(rep.Problems...).Error(), tt.says) {
				t.Errorf("%v %v, want %q", err, rep.Problems, tt.says)
			}
			if n := len(demux(t, ts.Bytes())); n != tt.left {
				t.Errorf("%d pictures are left, want %d", n, tt.left)
			}
		})
	}
}

// A part that the store hides leaves a hole in the numbers.
func TestArchiveTellsOfAHiddenPart(t *testing.T) {
	t.Parallel()
	m := newMemory()
	r := newRig(t, m, func(c *Config) { c.Part = 4 * time.Second })
	r.pour(16 * time.Second)
	r.close()
	for name := range m.objects {
		if strings.Contains(name, "-00000001/") || strings.Contains(name, "-00000002/") {
			delete(m.objects, name)
		}
	}
	a := Archive{Store: m, UID: testUID, Key: testKey}
	parts, err := a.Parts(t.Context())
	if err != nil || len(parts) != 2 {
		t.Fatal(parts, err)
	}
	dropped, problems, err := a.Missing(t.Context(), parts)
	if err != nil || dropped != 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), "segments 1 to 2, before part") {
		t.Errorf("%d %v %v, want the hole", dropped, problems, err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*Config){
		"no UID":     func(c *Config) { c.UID = identity.UID{} },
		"no key":     func(c *Config) { c.Key = Key{} },
		"no store":   func(c *Config) { c.Store = nil },
		"no spool":   func(c *Config) { c.Spool = "" },
		"a segment":  func(c *Config) { c.Segment = time.Millisecond },
		"a part of":  func(c *Config) { c.Part = time.Second },
		"a pre-roll": func(c *Config) { c.PreRoll = time.Hour },
		"a bound":    func(c *Config) { c.Bound = 5 },
		"retries":    func(c *Config) { c.RetryMax = time.Millisecond },
		"open spool": func(c *Config) { c.Spool = "/dev/null/spool" },
	} {
		c := Config{UID: testUID, Key: testKey, Store: newMemory(), Spool: t.TempDir()}
		change(&c)
		if _, err := NewRecorder(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// What a crash or a disk left of a segment does no harm.
func FuzzWholePictures(f *testing.F) {
	m, err := newMuxer()
	if err != nil {
		f.Fatal(err)
	}
	var ts []byte
	for i := range 3 {
		b, err := m.write(media.AccessUnit{PTS: time.Duration(i) * time.Second, Key: i == 0, Data: nals(7, 8, 5)}, i == 0, false)
		if err != nil {
			f.Fatal(err)
		}
		ts = append(ts, b...)
	}
	if size, span := wholePictures(ts); size != len(ts)-packet || span != 2*time.Second {
		f.Errorf("of %d bytes %d are whole pictures, of %v", len(ts), size, span)
	}
	f.Add(ts)
	f.Fuzz(func(t *testing.T, b []byte) {
		if size, span := wholePictures(b); size < 0 || size > len(b) || size%packet != 0 || span < 0 {
			t.Errorf("%d bytes: %d, %v", len(b), size, span)
		}
	})
}
