package media

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEmbeddedClip(t *testing.T) {
	clip := EmbeddedClip()
	if n := len(clip.AccessUnits); n != 100 {
		t.Fatalf("the clip has %d access units, want 100", n)
	}
	for i, au := range clip.AccessUnits {
		if au.Index != i || au.PTS != time.Duration(i)*40*time.Millisecond || au.Key != (i%25 == 0) || au.Hash != Sum(au.Data) {
			t.Errorf("access unit %d: index %d, PTS %v, key %v", i, au.Index, au.PTS, au.Key)
		}
	}
	if n := len(clip.AccessUnits[0].Data); n < 30e3 || n > 60e3 {
		t.Errorf("the first key frame has %d bytes, want 30 to 60 kB", n)
	}
	if rate := clip.Size() * 8 / 4; rate < 1.8e6 || rate > 2.2e6 {
		t.Errorf("the clip has %d bit/s, want about 2 Mbit/s", rate)
	}
	var whole, parsed []string
	split := func(to *[]string, b []byte) {
		err := splitNALs(b, func(nal []byte) error { *to = append(*to, string(nal)); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	split(&whole, clipBytes)
	for _, au := range clip.AccessUnits {
		split(&parsed, au.Data)
	}
	if diff := cmp.Diff(whole, parsed); diff != "" {
		t.Error("the access units do not add up to the embedded file")
	}
}

func TestLoopGoesOn(t *testing.T) {
	clip := EmbeddedClip()
	source := clip.Loop()
	for i := range 250 {
		au, err := source.Next()
		if err != nil {
			t.Fatal(err)
		}
		want := clip.AccessUnits[i%100]
		if au.Index != i || au.PTS != time.Duration(i)*40*time.Millisecond || au.Hash != want.Hash || au.Key != want.Key {
			t.Fatalf("access unit %d: index %d, PTS %v", i, au.Index, au.PTS)
		}
	}
}

// nals writes NAL units with start codes of 3 bytes, as some encoders do.
func nals(units ...string) []byte {
	var b []byte
	for _, u := range units {
		b = append(append(b, 0, 0, 1), u...)
	}
	return b
}

func canonical(units ...string) string {
	var b []byte
	for _, u := range units {
		b = append(append(b, startCode...), u...)
	}
	return string(b)
}

func TestParseAnnexB(t *testing.T) {
	const (
		aud, sps, pps, sei = "\x09\xF0", "\x67sps", "\x68pps", "\x06sei"
		idr, idr2          = "\x65\x80first", "\x65\x40second" // first_mb_in_slice 0, 1
		p, p2              = "\x41\x9Afirst", "\x41\x40second"
	)
	for _, test := range []struct {
		name   string
		stream []byte
		want   []string
		keys   []bool
	}{
		{"one slice a picture", nals(sps, pps, idr, p, p), []string{canonical(sps, pps, idr), canonical(p), canonical(p)}, []bool{true, false, false}},
		{"two slices a picture", nals(sps, pps, idr, idr2, p, p2), []string{canonical(sps, pps, idr, idr2), canonical(p, p2)}, []bool{true, false}},
		{"delimiters", nals(aud, sps, pps, idr, aud, p, p2, aud, p), []string{canonical(aud, sps, pps, idr), canonical(aud, p, p2), canonical(aud, p)}, []bool{true, false, false}},
		{"sei begins a picture", nals(p, sei, p), []string{canonical(p), canonical(sei, p)}, []bool{false, false}},
		{"garbage before, zeros between", append([]byte("garbage\x00\x00"), append(append(nals(p), 0, 0, 0), nals(idr)...)...), []string{canonical(p), canonical(idr)}, []bool{false, true}},
		{"trailing parameter sets are no picture", nals(p, sps), []string{canonical(p)}, []bool{false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clip, err := ParseAnnexB(test.stream, 30)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			var keys []bool
			for _, au := range clip.AccessUnits {
				got, keys = append(got, string(au.Data)), append(keys, au.Key)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("access units (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.keys, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			checkReader(t, test.stream, clip)
		})
	}
}

// checkReader reads the stream byte by byte, in halves and at once, and expects the parser's result.
func checkReader(t *testing.T, stream []byte, want *Clip) {
	t.Helper()
	for name, r := range map[string]io.Reader{
		"a byte at a time": iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":        iotest.HalfReader(bytes.NewReader(stream)),
		"data with EOF":    iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		source, err := NewReader(r, want.FPS)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(source)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want.AccessUnits, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func readAll(s Source) (aus []AccessUnit, err error) {
	for {
		au, err := s.Next()
		if err == io.EOF {
			return aus, nil
		}
		if err != nil {
			return aus, err
		}
		aus = append(aus, au)
	}
}

func TestReaderReadsTheClip(t *testing.T) {
	source, err := NewReader(iotest.HalfReader(bytes.NewReader(clipBytes)), 25)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(source)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(EmbeddedClip().AccessUnits, got) { // a megabyte is too much for cmp
		t.Errorf("%d access units differ from the clip's", len(got))
	}
}

func TestNotH264IsRefused(t *testing.T) {
	broken := errors.New("broken pipe")
	for _, test := range []struct {
		name   string
		stream []byte
		fps    int
		want   error
	}{
		{"empty", nil, 25, nil},
		{"no start code", []byte("hello, I am a text file"), 25, nil},
		{"parameter sets alone", nals("\x67sps"), 25, nil},
		{"reserved type", nals("\x65\x80x", "\x1Cx"), 25, errReservedNAL},
		{"unspecified type", nals("\x40x"), 25, errReservedNAL},
		{"forbidden bit", nals("\xE5\x80x"), 25, errForbiddenBit},
		{"no rate", nals("\x65\x80x"), 0, nil},
		{"too large", nals("\x65\x80" + string(bytes.Repeat([]byte{1}, maxAccessUnit))), 25, errTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseAnnexB(test.stream, test.fps); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("ParseAnnexB: %v, want %v", err, test.want)
			}
			source, err := NewReader(bytes.NewReader(test.stream), test.fps)
			if err == nil {
				_, err = readAll(source)
			}
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Reader: %v, want %v", err, test.want)
			}
		})
	}
	source, _ := NewReader(iotest.ErrReader(broken), 25)
	for range 2 { // it stays
		if _, err := source.Next(); !errors.Is(err, broken) {
			t.Errorf("Reader: %v, want %v", err, broken)
		}
	}
}

// What parses, parses again to the same, whether at once or as a stream.
func FuzzAnnexB(f *testing.F) {
	f.Add(nals("\x67sps", "\x68pps", "\x65\x80idr", "\x41\x9Ap"))
	f.Add([]byte{0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x65, 0x80, 0, 0, 3, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		clip, err := ParseAnnexB(b, 25)
		source, _ := NewReader(iotest.HalfReader(bytes.NewReader(b)), 25)
		streamed, rerr := readAll(source)
		if (err == nil) != (rerr == nil) {
			t.Fatalf("ParseAnnexB says %v, Reader %v", err, rerr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(clip.AccessUnits, streamed); diff != "" {
			t.Fatalf("Reader differs (-parsed +streamed):\n%s", diff)
		}
		var whole []byte
		for _, au := range clip.AccessUnits {
			whole = append(whole, au.Data...)
		}
		again, err := ParseAnnexB(whole, 25)
		if err != nil {
			t.Fatalf("canonical form: %v", err)
		}
		if diff := cmp.Diff(clip, again); diff != "" {
			t.Fatalf("canonical form (-first +again):\n%s", diff)
		}
	})
}
