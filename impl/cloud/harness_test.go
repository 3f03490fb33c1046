package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asticode/go-astits"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
)

var (
	testKey = Key{1, 2, 3}
	testUID = identity.PublicKey{7}.UID()
	epoch   = time.Date(2026, 11, 23, 2, 20, 0, 0, time.UTC)
)

// memory is a Store that counts, and that fails when told to.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	order   []string       // of segments' first Puts
	puts    map[string]int // that succeeded
	fail    error
	late    bool // fail after having stored
	calls   int
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}, puts: map[string]int{}} }

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) Put(_ context.Context, name, _ string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.fail != nil && !m.late {
		return m.fail
	}
	if _, ok := m.objects[name]; !ok && strings.HasSuffix(name, ".ts") {
		m.order = append(m.order, name)
	}
	m.objects[name] = bytes.Clone(body)
	m.puts[name]++
	if m.fail != nil {
		return m.fail
	}
	return nil
}

func (m *memory) Get(_ context.Context, name string, _ int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, ErrNotFound)
	}
	return bytes.Clone(b), nil
}

func (m *memory) List(_ context.Context, prefix string) (all []Object, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(n, prefix) {
			all = append(all, Object{n, int64(len(m.objects[n]))})
		}
	}
	return all, nil
}

// find returns the name of the one object that contains what.
func (m *memory) find(t *testing.T, what ...string) string {
	t.Helper()
	for _, n := range slices.Sorted(maps.Keys(m.objects)) {
		if !slices.ContainsFunc(what, func(w string) bool { return !strings.Contains(n, w) }) {
			return n
		}
	}
	t.Fatalf("the store has no object with %q", what)
	return ""
}

var errDown = &StoreError{Reason: Unreachable, Err: errors.New("the test's store is down")}

// rig is a recorder, what it told, and what it was given.
type rig struct {
	t *testing.T
	*Recorder
	store *memory
	next  int // access unit

	mu     sync.Mutex
	events []any
}

// newRig begins to record in a new spool, or in that of an earlier rig.
func newRig(t *testing.T, m *memory, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, store: m}
	c := Config{UID: testUID, Key: testKey, Store: m, Spool: t.TempDir(), Event: r.tell, RetryMax: 8 * time.Second}
	if change != nil {
		change(&c)
	}
	var err error
	if r.Recorder, err = NewRecorder(c); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) tell(e any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// told returns the events of one type so far.
func told[T any](r *rig) (all []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e, ok := e.(T); ok {
			all = append(all, e)
		}
	}
	return all
}

// feed writes the clip for d, in its own time: inside a bubble that is no time.
func (r *rig) feed(d time.Duration) {
	for range int(d / (40 * time.Millisecond)) {
		if err := r.Write(media.EmbeddedClip().At(r.next)); err != nil {
			r.t.Fatal(err)
		}
		r.next++
		time.Sleep(40 * time.Millisecond)
		synctest.Wait()
	}
}

// units returns the access units that were fed, from and up to a number.
func units(from, to int) (all []media.AccessUnit) {
	for i := from; i < to; i++ {
		all = append(all, media.EmbeddedClip().At(i))
	}
	return all
}

func (r *rig) close() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// archived reads all that a store has, and fails where anything is wrong with it.
func archived(t *testing.T, s Store) (ts []byte, reports []Report) {
	t.Helper()
	a := Archive{Store: s, UID: testUID, Key: testKey}
	parts, err := a.Parts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := Join(&b)
	for _, p := range parts {
		rep, err := a.Read(context.Background(), p, w)
		if err != nil || len(rep.Problems) > 0 {
			t.Fatalf("part %s: %v %v", p.Name, err, rep.Problems)
		}
		reports = append(reports, rep)
	}
	return b.Bytes(), reports
}

// demux returns the pictures of a transport stream, without delimiters, and their PTS. A discontinuity that is told is taken
// out first: this demuxer drops the picture before it.
func demux(t *testing.T, ts []byte) (all []media.AccessUnit) {
	t.Helper()
	for at := 0; at < len(ts); at += packet {
		if ts[at+3]&0x20 != 0 && ts[at+4] > 0 {
			ts[at+5] &^= 0x80
		}
	}
	d := astits.NewDemuxer(context.Background(), bytes.NewReader(ts))
	for {
		data, err := d.NextData()
		if errors.Is(err, astits.ErrNoMorePackets) || errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if data.PES == nil {
			continue
		}
		h := data.PES.Header.OptionalHeader
		body, ok := bytes.CutPrefix(data.PES.Data, delimiter)
		if !ok || h.PTSDTSIndicator != astits.PTSDTSIndicatorOnlyPTS {
			t.Fatalf("picture %d: delimiter %v, PTS and DTS %d", len(all), ok, h.PTSDTSIndicator)
		}
		all = append(all, media.AccessUnit{PTS: time.Duration(h.PTS.Base-ptsOffset) * time.Second / 90000, Data: body})
	}
}

// wantPictures compares what was recorded with what was fed.
func wantPictures(t *testing.T, ts []byte, want []media.AccessUnit) {
	t.Helper()
	got := demux(t, ts)
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i].Data, want[i].Data) || (got[i].PTS-want[i].PTS).Abs() > 20*time.Microsecond {
			t.Fatalf("picture %d: %d bytes at %v, want number %d, %d bytes at %v", i, len(got[i].Data), got[i].PTS, want[i].Index,
				len(want[i].Data), want[i].PTS)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d pictures, want %d", len(got), len(want))
	}
}

// wantEmpty says that a spool holds nothing but its state.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != lockName && f.Name() != stateName {
			t.Errorf("the spool still has %s", f.Name())
		}
	}
}
