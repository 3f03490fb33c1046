package web

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// lane is a backend with one camera, "door", that plays the embedded clip.
type lane struct {
	mu      sync.Mutex
	state   Camera
	wake    chan struct{}
	feeds   int
	asked   int // key frames
	restart int // frames after which a stream ends and another begins; 0: never
}

func newLane() *lane {
	return &lane{state: Camera{Name: "door", UID: "U", Presence: "online", Phase: "idle"}, wake: make(chan struct{}, 1)}
}

func (l *lane) Cameras() []Camera {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []Camera{l.state}
}

func (l *lane) Changed() (<-chan struct{}, func()) { return l.wake, func() {} }

func (l *lane) change(f func(*Camera)) {
	l.mu.Lock()
	f(&l.state)
	l.mu.Unlock()
	l.wake <- struct{}{}
}

func (l *lane) Watch(name string) (Feed, error) {
	if name != "door" {
		return nil, errors.New("there is no camera " + name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.feeds++
	return &player{lane: l, source: media.EmbeddedClip().Loop(), begun: time.Now(), over: make(chan struct{})}, nil
}

func (l *lane) count() (feeds, asked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.feeds, l.asked
}

type player struct {
	lane   *lane
	source media.Source
	begun  time.Time
	sent   int
	stream uint64
	once   sync.Once
	over   chan struct{}
}

func (p *player) Next(ctx context.Context) (Frame, error) {
	if p.lane.restart > 0 && p.sent == p.lane.restart {
		p.sent, p.stream, p.source, p.begun = 0, p.stream+1, media.EmbeddedClip().Loop(), time.Now()
	}
	au, err := p.source.Next()
	if err != nil {
		return Frame{}, err
	}
	p.sent++
	wait := time.NewTimer(time.Until(p.begun.Add(au.PTS)))
	defer wait.Stop()
	select {
	case <-wait.C:
		return Frame{Frame: media.Frame{Index: au.Index, PTS: au.PTS, Key: au.Key, Data: au.Data}, Stream: p.stream}, nil
	case <-p.over:
		return Frame{}, io.EOF
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	}
}

func (p *player) RequestKeyFrame() {
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	p.lane.asked++
}

func (p *player) Close() {
	p.once.Do(func() {
		close(p.over)
		p.lane.mu.Lock()
		defer p.lane.mu.Unlock()
		p.lane.feeds--
	})
}

func serve(t *testing.T, b Backend, opt Options) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(b, opt)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	return s, h
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
