package cloud

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asticode/go-astits"
)

// Live is a segment as a viewer gets it while the camera records.
type Live struct {
	Part     string
	Start    time.Time
	Duration time.Duration
	Bytes    int    // as stored
	TS       []byte // decrypted: MPEG-TS
}

// Follow hands over a camera's segments as they are stored, the newest first and then each that follows, until the context
// ends or use fails. It looks every so often, as HLS players do (RFC 8216 §6.3.4); where the camera does not record it waits.
func (a Archive) Follow(ctx context.Context, every time.Duration, use func(Live) error) error {
	if a.Key == (Key{}) {
		return errors.New("follow recording: no key: give the camera's recording key")
	}
	f := follower{Archive: a, use: use}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// follower is one Follow's state.
type follower struct {
	Archive
	use    func(Live) error
	part   *Recorded // nil: it has to be looked for
	series string    // that next belongs to
	next   uint64    // the segment that is waited for; 0: the newest
}

// look takes what is new.
func (f *follower) look(ctx context.Context) error {
	if f.part == nil {
		parts, err := f.Parts(ctx)
		if err != nil || len(parts) == 0 {
			return err
		}
		newest := parts[len(parts)-1]
		if newest.name.Series != f.series {
			f.series, f.next = newest.name.Series, 0 // a spool that was made anew counts anew
		}
		if n := len(newest.names); n == 0 || newest.names[n-1].Seq < f.next {
			return nil // nothing since
		}
		f.part = newest
	}
	fresh, err := f.fresh(ctx)
	if err != nil {
		return err
	}
	k := derive(f.Key, f.UID, f.part.Name)
	if len(fresh) == 0 { // perhaps it is over: its playlist knows
		var rep Report
		list, err := f.playlist(ctx, f.part, &k, &rep)
		if list.Ended && list.next() <= f.next {
			f.part = nil
		}
		return err
	}
	for _, n := range fresh {
		sealed, err := f.Store.Get(ctx, f.path(f.part, n.String()), maxObject)
		if err != nil {
			return err
		}
		plain, err := k.open(n, sealed)
		if err != nil {
			return fmt.Errorf("follow recording: segment %d: %w", n.Seq, err)
		}
		f.next = n.Seq + 1
		if err := f.use(Live{Part: f.part.Name, Start: n.Start, Duration: n.Duration, Bytes: len(sealed), TS: plain}); err != nil {
			return err
		}
	}
	return nil
}

// fresh lists the segments that are waited for. A listing knows them before the playlist, which is stored less often.
func (f *follower) fresh(ctx context.Context) (names []segmentName, err error) {
	objects, err := f.Store.List(ctx, f.path(f.part, ""))
	if err != nil {
		return nil, err
	}
	now := Recorded{}
	for _, o := range objects {
		now.add(o.Name[strings.LastIndexByte(o.Name, '/')+1:], o.Size)
	}
	names = slices.DeleteFunc(now.names, func(n segmentName) bool { return n.Seq < f.next })
	slices.SortFunc(names, func(a, b segmentName) int { return cmp.Compare(a.Seq, b.Seq) })
	if f.next == 0 && len(names) > 0 {
		names = names[len(names)-1:]
	}
	return names, nil
}

// Unit is a picture of a segment.
type Unit struct {
	PTS  time.Duration // from the segment's first picture
	Data []byte        // Annex B, as the camera's source gave it
}

// Units takes a segment's pictures out of MPEG-TS.
func (l Live) Units() (all []Unit, err error) {
	d := astits.NewDemuxer(context.Background(), bytes.NewReader(l.TS))
	var first int64
	for {
		data, err := d.NextData()
		if errors.Is(err, astits.ErrNoMorePackets) {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("read MPEG-TS: %w", err)
		}
		if data.PES == nil || data.PES.Header.OptionalHeader == nil || data.PES.Header.OptionalHeader.PTS == nil {
			continue
		}
		pts := data.PES.Header.OptionalHeader.PTS.Base
		if len(all) == 0 {
			first = pts
		}
		ticks := (pts - first) & (1<<clockBits - 1)
		all = append(all, Unit{PTS: time.Duration(ticks) * time.Second / 90000, Data: trimDelimiter(data.PES.Data)})
	}
}

// trimDelimiter takes off the delimiter that the recorder has put before a picture.
func trimDelimiter(b []byte) []byte { return bytes.TrimPrefix(b, delimiter) }
