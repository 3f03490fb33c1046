package cloud

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Archive reads what recorders stored.
type Archive struct {
	Store Store
	UID   identity.UID
	Key   Key // zero: names alone can be read
}

// Recorded is one part as its objects' names tell it.
type Recorded struct {
	UID      identity.UID
	Name     string
	Start    time.Time
	Duration time.Duration // of the segments that are there
	Segments int
	Bytes    int64
	Listed   bool // it has a playlist

	name  partName
	names []segmentName // by number
}

// Cameras returns which cameras a store has recordings of.
func Cameras(ctx context.Context, s Store) (uids []identity.UID, err error) {
	objects, err := s.List(ctx, "")
	for _, o := range objects {
		folder, _, _ := strings.Cut(o.Name, "/")
		if uid, e := identity.ParseUID(folder); e == nil && uid.Compact() == folder && !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids, err
}

// Parts returns the camera's parts, the oldest of each series first. What has another name than a recorder gives is left out.
func (a Archive) Parts(ctx context.Context) ([]*Recorded, error) {
	objects, err := a.Store.List(ctx, a.UID.Compact()+"/")
	if err != nil {
		return nil, err
	}
	parts := map[string]*Recorded{}
	for _, o := range objects {
		f := strings.Split(o.Name, "/")
		if len(f) != 3 {
			continue
		}
		name, err := parsePartName(f[1])
		if err != nil {
			continue
		}
		p := parts[f[1]]
		if p == nil {
			p = &Recorded{UID: a.UID, Name: f[1], Start: name.Start, name: name}
			parts[f[1]] = p
		}
		p.add(f[2], o.Size)
	}
	all := make([]*Recorded, 0, len(parts))
	for _, p := range parts {
		slices.SortFunc(p.names, func(a, b segmentName) int { return cmp.Compare(a.Seq, b.Seq) })
		all = append(all, p)
	}
	sortParts(all)
	return all, nil
}

// sortParts orders parts by time, but for those of one series, whose numbers know better than a clock that was set.
func sortParts(all []*Recorded) {
	begun := map[string]time.Time{}
	for _, p := range all {
		if at, ok := begun[p.name.Series]; !ok || p.Start.Before(at) {
			begun[p.name.Series] = p.Start
		}
	}
	slices.SortFunc(all, func(a, b *Recorded) int {
		return cmp.Or(begun[a.name.Series].Compare(begun[b.name.Series]), cmp.Compare(a.name.Series, b.name.Series),
			cmp.Compare(a.name.First, b.name.First), cmp.Compare(a.Name, b.Name))
	})
}

func (p *Recorded) add(file string, size int64) {
	n, err := parseSegmentName(file)
	switch {
	case file == playlistName:
		p.Listed = true
	case err == nil && !n.lost():
		p.names = append(p.names, n)
		p.Segments++
		p.Bytes += size
		p.Duration += n.Duration
	}
}

// Report says what a part is worth.
type Report struct {
	Part     string
	Start    time.Time
	Duration time.Duration // of what is good
	Good     int           // segments that are the camera's own
	Bytes    int64         // of them, as stored
	Unlisted int           // of them, those that the playlist does not name yet
	Dropped  int           // segments that the camera says it dropped
	Ended    bool          // the camera says that no more will come
	Problems []error       // what is missing, changed or forged; empty: all is as the camera made it
}

// maxObject bounds an object that is read: above any segment.
const maxObject = 4 * maxSegment

// Read checks a part, and writes its good segments, decrypted, to w: MPEG-TS, which Join makes
// one stream of. Nil: it only checks.
func (a Archive) Read(ctx context.Context, p *Recorded, w io.Writer) (Report, error) {
	if w == nil {
		w = io.Discard
	}
	return a.walk(ctx, p, func(_ segmentName, _, plain []byte) error {
		_, err := w.Write(plain)
		return err
	})
}

// SaveHLS checks a part, and puts it into a folder as any HLS player can play it: segments as stored, a playlist, and the
// part's key, mode 0600.
func (a Archive) SaveHLS(ctx context.Context, p *Recorded, dir string) (Report, error) {
	k := derive(a.Key, a.UID, p.Name)
	list := playlist{Part: p.name, LostBefore: p.name.First, Ended: true}
	var last segmentName
	rep, err := a.walk(ctx, p, func(n segmentName, sealed, _ []byte) error {
		list.fill(n.Seq, n.Start, max(last.Duration, time.Second))
		list.add(n)
		last = n
		return os.WriteFile(filepath.Join(dir, n.String()), sealed, 0o600)
	})
	if err != nil {
		return rep, err
	}
	return rep, errors.Join(writeFile(filepath.Join(dir, keyName), k.aes[:]), writeFile(filepath.Join(dir, playlistName), list.encode(&k)))
}

// walk reads a part's segments in order, and has each good one used.
func (a Archive) walk(ctx context.Context, p *Recorded, use func(n segmentName, sealed, plain []byte) error) (Report, error) {
	rep := Report{Part: p.Name, Start: p.Start}
	if a.Key == (Key{}) {
		return rep, errors.New("read part: no key: give the camera's recording key")
	}
	k := derive(a.Key, a.UID, p.Name)
	list, err := a.playlist(ctx, p, &k, &rep)
	if err != nil {
		return rep, err
	}
	for _, n := range merge(list, p.names, &rep) {
		sealed, err := a.Store.Get(ctx, a.path(p, n.String()), maxObject)
		if errors.Is(err, ErrNotFound) {
			rep.problem("segment %d is missing: the store lost it", n.Seq)
			continue
		} else if err != nil {
			return rep, err
		}
		plain, err := k.open(n, sealed)
		if err != nil {
			rep.problem("segment %d: %w", n.Seq, err)
			continue
		}
		rep.Good++
		rep.Duration += n.Duration
		rep.Bytes += int64(len(sealed))
		if err := use(n, sealed, plain); err != nil {
			return rep, fmt.Errorf("write segment %d: %w", n.Seq, err)
		}
	}
	return rep, nil
}

func (r *Report) problem(format string, a ...any) {
	r.Problems = append(r.Problems, fmt.Errorf(format, a...))
}

func (a Archive) path(p *Recorded, file string) string {
	return a.UID.Compact() + "/" + p.Name + "/" + file
}

// playlist reads a part's, and reports what is wrong with it.
func (a Archive) playlist(ctx context.Context, p *Recorded, k *partKeys, rep *Report) (list playlist, err error) {
	b, err := a.Store.Get(ctx, a.path(p, playlistName), maxObject)
	if errors.Is(err, ErrNotFound) {
		rep.problem("the playlist is missing: segments may be missing at the end")
		return playlist{Part: p.name}, nil
	} else if err != nil {
		return list, err
	}
	list, err = parsePlaylist(b, p.name, k)
	if err != nil {
		rep.problem("the playlist: %w", err)
		return playlist{Part: p.name}, nil
	}
	rep.Ended = list.Ended
	return list, nil
}

// merge returns what the playlist names and what else the store has, in order. What no playlist names yet is told apart.
func merge(list playlist, have []segmentName, rep *Report) (all []segmentName) {
	listed := map[segmentName]bool{}
	for _, n := range list.Entries {
		listed[n] = true
		if n.lost() {
			rep.Dropped++
			continue
		}
		all = append(all, n)
	}
	for _, n := range have {
		switch {
		case listed[n]:
		case n.Seq < list.next() || list.Ended:
			rep.problem("segment %d, %.16s…, is not in the playlist: the camera did not make it", n.Seq, n)
		default:
			rep.Unlisted++
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b segmentName) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	return all
}

// Missing returns what no part has, between the first and the last that the store has of each series. A hole that the camera
// tells of is no problem but a loss: Dropped.
func (a Archive) Missing(ctx context.Context, parts []*Recorded) (dropped int, problems []error, err error) {
	next := map[string]uint64{}
	for _, p := range parts {
		k := derive(a.Key, a.UID, p.Name)
		var rep Report
		list, err := a.playlist(ctx, p, &k, &rep)
		if err != nil {
			return dropped, problems, err
		}
		at, known := next[p.name.Series]
		if hole := int64(p.name.First) - int64(at); known && hole > 0 {
			told := int64(p.name.First - max(min(list.LostBefore, p.name.First), at))
			dropped += int(told)
			if hole > told {
				problems = append(problems, fmt.Errorf("segments %d to %d, before part %s, are missing: the store lost them, or they wait in the camera's spool",
					at, int64(at)+hole-told-1, p.Name))
			}
		}
		end := list.next()
		if n := len(p.names); n > 0 {
			end = max(end, p.names[n-1].Seq+1)
		}
		next[p.name.Series] = max(at, end)
	}
	return dropped, problems, nil
}
