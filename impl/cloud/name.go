package cloud

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// playlistName is the playlist's in its part; keyName is what it calls the key, which stands beside it once who has the master
// key has put it there.
const (
	playlistName = "index.m3u8"
	keyName      = "part.key"
)

const stampLayout = "20060102T150405"

// partName is a part's folder: 20261123T022000Z-1f3a9c02-00000150.
type partName struct {
	Start  time.Time // of its first picture, whole seconds, UTC
	Series string    // of the spool, 8 hexadecimal digits
	First  uint64    // sequence number of its first segment
}

func (n partName) String() string {
	return fmt.Sprintf("%sZ-%s-%08d", n.Start.UTC().Format(stampLayout), n.Series, n.First)
}

// parsePartName reads what String wrote, and nothing else.
func parsePartName(s string) (n partName, err error) {
	f := strings.Split(s, "-")
	if len(f) == 3 {
		n.Series = f[1]
		n.Start, err = time.Parse(stampLayout+"Z", f[0])
		if err == nil {
			n.First, err = strconv.ParseUint(f[2], 10, 64)
		}
	}
	if b, e := hex.DecodeString(n.Series); err != nil || e != nil || len(b) != 4 || n.String() != s {
		return partName{}, fmt.Errorf("%q is not a part's name: want START-SERIES-NUMBER", s)
	}
	return n, nil
}

// segmentName is what a segment's name says of it: 00000150-20261123T022000040Z-4000-c-<HMAC>.ts. A segment that was dropped
// has no HMAC and is called .lost.
type segmentName struct {
	Seq      uint64
	Start    time.Time     // of its first picture, whole milliseconds, UTC
	Duration time.Duration // whole milliseconds
	Jump     bool          // its timestamps do not go on from the segment before
	MAC      [32]byte      // over ciphertext and facts; zero in a lost one
}

// facts is the name without the HMAC, which covers it.
func (n segmentName) facts() string {
	flag := "c"
	if n.Jump {
		flag = "d"
	}
	start := n.Start.UTC()
	return fmt.Sprintf("%08d-%s%03dZ-%d-%s", n.Seq, start.Format(stampLayout), start.Nanosecond()/1e6, n.Duration.Milliseconds(), flag)
}

func (n segmentName) lost() bool { return n.MAC == [32]byte{} }

func (n segmentName) String() string {
	if n.lost() {
		return n.facts() + ".lost"
	}
	return n.facts() + "-" + hex.EncodeToString(n.MAC[:]) + ".ts"
}

// parseSegmentName reads what String wrote, and nothing else.
func parseSegmentName(s string) (segmentName, error) {
	base, ok := strings.CutSuffix(s, ".ts")
	var mac []byte
	if ok && len(base) > 65 {
		mac, _ = hex.DecodeString(base[len(base)-64:])
		base = base[:len(base)-65]
	} else {
		base = strings.TrimSuffix(s, ".lost")
	}
	n, err := parseFacts(base)
	copy(n.MAC[:], mac)
	if err != nil || n.String() != s {
		return segmentName{}, fmt.Errorf("%q is not a segment's name: want NUMBER-START-MILLISECONDS-FLAG-HMAC.ts", s)
	}
	return n, nil
}

func parseFacts(s string) (n segmentName, err error) {
	f := strings.Split(s, "-")
	if len(f) != 4 || len(f[1]) != len(stampLayout)+4 {
		return n, strconv.ErrSyntax
	}
	if n.Seq, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return n, err
	}
	if n.Start, err = time.Parse(stampLayout, f[1][:len(stampLayout)]); err != nil {
		return n, err
	}
	ms, err := strconv.ParseUint(f[1][len(stampLayout):len(f[1])-1], 10, 10)
	if err != nil {
		return n, err
	}
	n.Start = n.Start.Add(time.Duration(ms) * time.Millisecond)
	d, err := strconv.ParseUint(f[2], 10, 31)
	n.Duration, n.Jump = time.Duration(d)*time.Millisecond, f[3] == "d"
	return n, err
}
