package cloud

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// playlist is a part's: what of it is stored or lost, in order.
type playlist struct {
	Part       partName
	LostBefore uint64        // segments from this number up to the part's first were dropped, and no playlist tells of them; or the first
	Target     int           // seconds; at least any segment's duration, rounded
	Entries    []segmentName // numbers grow by one, from the part's first
	Ended      bool          // no more will come
}

// next is the sequence number that the next entry has.
func (p *playlist) next() uint64 { return p.Part.First + uint64(len(p.Entries)) }

// add appends an entry.
func (p *playlist) add(n segmentName) {
	p.Entries = append(p.Entries, n)
	p.Target = max(p.Target, int(n.Duration.Round(time.Second)/time.Second))
}

const (
	macComment  = "#PUNCHLAB-MAC:"
	lostComment = "#PUNCHLAB-LOST-BEFORE:"
	dateLayout  = "2006-01-02T15:04:05.000Z"
)

// maxDrift is how far a segment's start may be from the end of the one before without its date being told again.
const maxDrift = 200 * time.Millisecond

// encode returns the playlist as it is stored. A time is told at the first entry and where the clock and the timestamps
// disagree (RFC 8216 §4.3.2.6).
func (p *playlist) encode(k *partKeys) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n",
		p.Target, p.Part.First)
	fmt.Fprintf(&b, "#EXT-X-KEY:METHOD=AES-128,URI=%q\n#PUNCHLAB-PART:%s\n", keyName, p.Part)
	if p.LostBefore < p.Part.First {
		fmt.Fprintf(&b, "%s%d\n", lostComment, p.LostBefore)
	}
	var due time.Time
	for i, n := range p.Entries {
		if n.Jump && i > 0 {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if n.Start.Sub(due).Abs() > maxDrift {
			fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", n.Start.UTC().Format(dateLayout))
			due = n.Start
		}
		due = due.Add(n.Duration)
		if n.lost() {
			b.WriteString("#EXT-X-GAP\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%d.%03d,\n%s\n", n.Duration/time.Second, n.Duration%time.Second/time.Millisecond, n)
	}
	if p.Ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	fmt.Fprintf(&b, "%s%s\n", macComment, hex.EncodeToString(k.playlistMAC(b.Bytes())))
	return b.Bytes()
}

var errPlaylist = errors.New("is not a playlist of ours")

// parsePlaylist reads what encode wrote for that part with these keys, and nothing else.
func parsePlaylist(b []byte, part partName, k *partKeys) (p playlist, err error) {
	at := bytes.LastIndex(b, []byte(macComment))
	if at < 0 {
		return p, errPlaylist
	}
	mac, err := hex.DecodeString(strings.TrimSpace(string(b[at+len(macComment):])))
	if err != nil || !hmac.Equal(mac, k.playlistMAC(b[:at])) {
		return p, errForged
	}
	p = playlist{Part: part, LostBefore: part.First}
	for line := range strings.Lines(string(b[:at])) {
		if err := p.parseLine(strings.TrimSuffix(line, "\n")); err != nil {
			return playlist{}, err
		}
	}
	if !bytes.Equal(p.encode(k), b) {
		return playlist{}, errPlaylist
	}
	return p, nil
}

func (p *playlist) parseLine(line string) (err error) {
	if target, ok := strings.CutPrefix(line, "#EXT-X-TARGETDURATION:"); ok {
		p.Target, err = strconv.Atoi(target)
	} else if from, ok := strings.CutPrefix(line, lostComment); ok {
		p.LostBefore, err = strconv.ParseUint(from, 10, 64)
	} else if line == "#EXT-X-ENDLIST" {
		p.Ended = true
	} else if !strings.HasPrefix(line, "#") {
		n, e := parseSegmentName(line)
		if e == nil && n.Seq != p.next() {
			e = errPlaylist
		}
		p.Entries, err = append(p.Entries, n), e
	}
	return err
}

// fill lists the segments up to but without seq as lost, dividing the time between their neighbours among them.
func (p *playlist) fill(seq uint64, until time.Time, usual time.Duration) {
	missing := int(seq - p.next())
	if seq <= p.next() {
		return
	}
	from, each := p.Part.Start, usual
	if last := len(p.Entries) - 1; last >= 0 {
		from = p.Entries[last].Start.Add(p.Entries[last].Duration)
	}
	if span := until.Sub(from); span > 0 && span < time.Duration(missing)*4*usual {
		each = (span / time.Duration(missing)).Truncate(time.Millisecond)
	}
	p.Entries = slices.Grow(p.Entries, missing)
	for range missing {
		p.add(segmentName{Seq: p.next(), Start: from, Duration: each})
		from = from.Add(each)
	}
}
