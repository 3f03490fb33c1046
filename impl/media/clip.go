package media

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

//go:embed clip.h264
var clipBytes []byte

const clipFPS = 25

// Hash identifies an access unit's bytes: the first 16 bytes of their SHA-256.
type Hash [16]byte

// Sum returns the hash of an access unit's bytes.
func Sum(data []byte) Hash {
	full := sha256.Sum256(data)
	return Hash(full[:16])
}

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// AccessUnit is one coded picture.
type AccessUnit struct {
	Index int           // from 0, grows by one; never starts again when a clip loops
	PTS   time.Duration // from the source's beginning; of a stored one, Index / FPS
	Key   bool          // it has an IDR slice: decoding can start here
	Data  []byte        // Annex B, 4-byte start codes; shared, not to be written to
	Hash  Hash          // of Data; a live source may leave it zero
	// Captured is when the picture was taken, by the clock that its camera's core is driven with. It makes the unit live: it leaves as
	// soon as it is there. Zero: stored, it leaves when its PTS comes, counted from the first one.
	Captured time.Time
}

// Clip is a finite sequence of access units. It is immutable.
type Clip struct {
	FPS         int
	AccessUnits []AccessUnit
}

var embedded = sync.OnceValue(func() *Clip {
	clip, err := ParseAnnexB(clipBytes, clipFPS)
	if err != nil {
		panic("media: the embedded clip does not parse: " + err.Error())
	}
	return clip
})

// EmbeddedClip returns the embedded clip: 4 s of 1280x720 at 25 frames/s and about 2 Mbit/s, a key
// frame each second, each picture numbered visibly and in blocks that programs can read (see
// make-clip.sh). It is parsed once and shared.
func EmbeddedClip() *Clip { return embedded() }

// ParseAnnexB splits a whole H.264 byte stream into access units, fps of them a second.
func ParseAnnexB(stream []byte, fps int) (*Clip, error) {
	if fps <= 0 {
		return nil, fmt.Errorf("parse h264: frame rate is %d, give frames per second above 0", fps)
	}
	clip := &Clip{FPS: fps}
	var group grouper
	add := func(au []byte, key bool) {
		index := len(clip.AccessUnits)
		clip.AccessUnits = append(clip.AccessUnits, AccessUnit{
			Index: index, PTS: ptsOf(index, fps), Key: key, Data: au, Hash: Sum(au),
		})
	}
	err := splitNALs(stream, func(nal []byte) error {
		au, key, err := group.push(nal)
		if err == nil && au != nil {
			add(au, key)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("parse h264: access unit %d: %w", len(clip.AccessUnits), err)
	}
	if au, key := group.flush(); au != nil {
		add(au, key)
	}
	if len(clip.AccessUnits) == 0 {
		return nil, fmt.Errorf("parse h264: no picture in %d bytes, expected an Annex B byte stream", len(stream))
	}
	return clip, nil
}

// At returns the access unit that a looping source delivers as number index (≥ 0): the clip's own,
// with the index and PTS of the loop.
func (c *Clip) At(index int) AccessUnit {
	au := c.AccessUnits[index%len(c.AccessUnits)]
	au.Index, au.PTS = index, ptsOf(index, c.FPS)
	return au
}

// Size returns the clip's bytes, start codes included.
func (c *Clip) Size() int {
	n := 0
	for _, au := range c.AccessUnits {
		n += len(au.Data)
	}
	return n
}

// ptsOf divides whole seconds apart from the rest, so that a long loop neither drifts nor overflows.
func ptsOf(index, fps int) time.Duration {
	return time.Duration(index/fps)*time.Second + time.Duration(index%fps)*time.Second/time.Duration(fps)
}
