package stack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/impl/cloud"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// Cloud is the camera that always uploads: it records to an S3 store on the internet (impl/cloud, the project's own recorder,
// whether somebody watches or not), and a viewer plays the recording from there as it grows.
//
//	camera ── segments, HTTPS ──► store (versitygw) ◄── HTTPS, as an HLS player asks ── viewer
type Cloud struct{}

const (
	cloudStore    = "store" // the public host that has one
	cloudPort     = 7070
	cloudBucket   = "recordings"
	cloudAccess   = "camera-access"
	cloudSecret   = "camera-secret"
	cloudSegment  = 2 * time.Second        // the shortest that HLS is commonly used with: the viewer is at least as late
	cloudLook     = 250 * time.Millisecond // between a player's questions
	cloudPatience = 20 * time.Second       // until the store answers, and has the first segment
)

// Name returns "cloud".
func (Cloud) Name() string { return "cloud" }

// Strategies is the one way to it.
func (Cloud) Strategies() []string { return []string{"cloud"} }

// Summary says what it is.
func (Cloud) Summary(string) string {
	return "a camera that always uploads: 2 s segments, encrypted, to an S3 store (versitygw), from which the viewer plays"
}

// Setup is what its owner has to do.
func (Cloud) Setup(string) []string {
	return []string{"open an account at a store, and pay for it", "enter the store's address and account in the camera", "enter them, and the recording's key, in the viewer"}
}

// Programs lists nothing that can be killed.
func (Cloud) Programs() []string { return nil }

// Try has the camera record, for Idle without a viewer, and then a viewer play.
func (Cloud) Try(ctx context.Context, l *lab.Lab, t Trial) (o Observation, err error) {
	program, err := findProgram("versitygw")
	if err != nil {
		return Observation{Outcome: record.Unsupported, Cause: "strategy cloud needs versitygw: make store builds bin/versitygw"}, nil
	}
	if l.Host(cloudStore) == nil {
		return Observation{Outcome: record.Unsupported, Cause: fmt.Sprintf("topology %s has no host %q", l.Topology().Name, cloudStore)}, nil
	}
	s := &cloudTrial{trial: t, lab: l}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.startStore(program); err != nil {
		return o, err
	}
	if err := s.record(ctx); err != nil {
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		return Observation{Outcome: record.Failed, Cause: err.Error(), Error: "no recording"}, nil
	}
	idle := s.leave(ctx)
	window, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	s.play(window)
	o = s.observe()
	if t.Idle > 0 {
		o.Bytes["camera_idle_up"] = idle
	}
	return o, ctx.Err()
}

// cloudTrial is one trial.
type cloudTrial struct {
	trial Trial
	lab   *lab.Lab
	dir   string
	store *process
	at    netip.AddrPort
	roots *x509.CertPool
	uid   identity.UID
	key   cloud.Key

	recorder *cloud.Recorder
	stop     context.CancelFunc
	feeding  sync.WaitGroup
	begun    time.Time // of the camera's first picture
	sent     atomic.Int64
	stored   chan struct{}
	once     sync.Once
	refused  atomic.Pointer[string]

	up, down atomic.Int64 // bytes that the camera wrote, and the viewer read, TLS and all
	asked    time.Time
	got      []cloudFrame
	wire     int // bytes of the first segment
	failed   error
}

// cloudFrame is a picture that the viewer has.
type cloudFrame struct {
	data     []byte
	captured time.Time
	came     time.Time
}

// startStore runs a store of this trial's own on its host, with a certificate that the two trust.
func (s *cloudTrial) startStore(program string) (err error) {
	if s.dir, err = os.MkdirTemp("", "punchlab-cloud-"); err != nil {
		return err
	}
	m := s.lab.Host(cloudStore)
	s.at = netip.AddrPortFrom(m.Addr(), cloudPort)
	if err := os.MkdirAll(filepath.Join(s.dir, "data", cloudBucket), 0o700); err != nil {
		return err
	}
	if err := s.certify(m.Addr()); err != nil {
		return err
	}
	s.store = &process{
		name: "store", machine: m, path: program, dir: s.dir,
		args: []string{
			"--port", s.at.String(), "--cert", filepath.Join(s.dir, "cert.pem"), "--key", filepath.Join(s.dir, "key.pem"), "--quiet", "posix", filepath.Join(s.dir, "data"),
		},
		env:  append(os.Environ(), "ROOT_ACCESS_KEY="+cloudAccess, "ROOT_SECRET_KEY="+cloudSecret),
		line: func(string, string, time.Time) {}, exited: func(string, int) {},
	}
	return s.store.Start()
}

// certify makes the store a certificate of its own.
func (s *cloudTrial) certify(a netip.Addr) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{a.AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(cert)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// open reaches the store from a host, and counts what goes there and what comes.
func (s *cloudTrial) open(m *lab.Machine, up, down *atomic.Int64) (cloud.Store, error) {
	return cloud.S3{
		Endpoint: s.at.String(), Bucket: cloudBucket, AccessKey: cloudAccess, SecretKey: cloudSecret, CA: s.roots,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := m.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{c, up, down}, nil
		},
	}.Open()
}

// countedConn counts the bytes of a connection.
type countedConn struct {
	net.Conn
	up, down *atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.down.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.up.Add(int64(n))
	return n, err
}

// record has the camera record, and waits until the store has the first segment.
func (s *cloudTrial) record(ctx context.Context) error {
	k, err := identity.NewKey(rand.Reader)
	if err != nil {
		return err
	}
	s.uid, s.stored = k.Public().UID(), make(chan struct{})
	if s.key, err = cloud.NewKey(rand.Reader); err != nil {
		return err
	}
	store, err := s.open(s.lab.Host("camera"), &s.up, new(atomic.Int64))
	if err != nil {
		return err
	}
	s.recorder, err = cloud.NewRecorder(cloud.Config{
		UID: s.uid, Key: s.key, Store: store, Spool: filepath.Join(s.dir, "spool"), Segment: cloudSegment, RetryMin: 100 * time.Millisecond, Event: s.event,
	})
	if err != nil {
		return err
	}
	feed, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.begun = time.Now()
	s.feeding.Go(func() { s.feed(feed) })
	ctx, cancel := context.WithTimeout(ctx, cloudPatience)
	defer cancel()
	select {
	case <-s.stored:
		return nil
	case <-ctx.Done():
		if why := s.refused.Load(); why != nil {
			return fmt.Errorf("nothing was stored within %v: %s (the store's last line: %q)", cloudPatience, *why, s.store.said())
		}
		return fmt.Errorf("nothing was stored within %v", cloudPatience)
	}
}

func (s *cloudTrial) event(e any) {
	switch e := e.(type) {
	case cloud.Stored:
		s.once.Do(func() { close(s.stored) })
	case cloud.StoreFailed:
		why := e.Err.Error()
		s.refused.Store(&why)
	}
}

// feed gives the recorder the embedded clip in its own time.
func (s *cloudTrial) feed(ctx context.Context) {
	source := media.EmbeddedClip().Loop()
	for {
		au, err := source.Next()
		if err != nil {
			return
		}
		wait := time.NewTimer(time.Until(s.begun.Add(au.PTS)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		au.Captured = s.begun.Add(au.PTS)
		if s.recorder.Write(au) != nil {
			return
		}
		s.sent.Add(1)
	}
}

// leave leaves the camera alone, as long as the trial wants that, and returns how many bytes it sent meanwhile.
func (s *cloudTrial) leave(ctx context.Context) int64 {
	if s.trial.Idle <= 0 {
		return 0
	}
	before := s.up.Load()
	select {
	case <-time.After(s.trial.Idle):
	case <-ctx.Done():
	}
	return s.up.Load() - before
}

// errSeen ends a viewer that has seen enough.
var errSeen = errors.New("seen enough")

// play has a viewer play from the newest segment on, until it has as much video as the trial asks for.
func (s *cloudTrial) play(ctx context.Context) {
	s.asked = time.Now()
	s.reach(Requested)
	store, err := s.open(s.lab.Host("viewer"), new(atomic.Int64), &s.down)
	if err != nil {
		s.failed = err
		return
	}
	want := max(1, int(s.trial.Media*time.Duration(media.EmbeddedClip().FPS)/time.Second))
	s.failed = cloud.Archive{Store: store, UID: s.uid, Key: s.key}.Follow(ctx, cloudLook, func(l cloud.Live) error {
		units, err := l.Units()
		if err != nil {
			return err
		}
		now := time.Now()
		if len(s.got) == 0 {
			s.wire = l.Bytes
			for _, m := range []Moment{Connected, FirstPacket, FirstFrame} {
				s.reach(m)
			}
		}
		for _, u := range units {
			s.got = append(s.got, cloudFrame{u.Data, l.Start.Add(u.PTS), now})
		}
		if len(s.got) >= want {
			return errSeen
		}
		return nil
	})
	if errors.Is(s.failed, errSeen) {
		s.failed = nil
	}
}

func (s *cloudTrial) reach(m Moment) {
	if s.trial.Reached != nil {
		s.trial.Reached(m)
	}
}

// observe collects what the trial showed. The video came by somebody else's machine: it was relayed.
func (s *cloudTrial) observe() Observation {
	o := Observation{
		Outcome: record.Relayed, Cause: "strategy cloud plays from a store",
		Bytes: map[string]int64{"camera_up": s.up.Load(), "relay": s.down.Load()}, Probes: map[string]float64{},
	}
	if len(s.got) == 0 {
		o.Outcome, o.Cause, o.Error = record.Failed, "no segment came", strconv.Quote(fmt.Sprint(s.failed))
		return o
	}
	first := s.got[0].came.Sub(s.asked)
	o.Connect, o.FirstPacket, o.FirstFrame, o.FirstFrameWire = first, first, first, s.wire
	o.Media = s.media()
	return o
}

// media compares what came with the clip, byte for byte.
func (s *cloudTrial) media() *record.Media {
	m := &record.Media{FramesSent: len(s.got), FramesReceived: len(s.got)}
	clip := media.EmbeddedClip()
	for _, f := range s.got {
		index := int(f.captured.Sub(s.begun)+20*time.Millisecond) / int(time.Second/time.Duration(clip.FPS))
		if bytes.Equal(f.data, clip.At(index).Data) {
			m.FramesIntact++
		}
		m.LatencyS = append(m.LatencyS, f.came.Sub(f.captured).Seconds())
	}
	return m
}

func (s *cloudTrial) close() error {
	if s.stop != nil {
		s.stop()
		s.feeding.Wait()
	}
	if s.recorder != nil {
		done, cancel := context.WithCancel(context.Background())
		cancel() // what is not stored stays in the spool, which is deleted
		_ = s.recorder.Close(done)
	}
	if s.store != nil {
		s.store.end()
	}
	return os.RemoveAll(s.dir)
}
