package camera

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"golang.org/x/sys/unix"
)

// state is what a camera keeps in its folder.
type state struct {
	dir  string   // "": nothing is kept
	lock *os.File // held for as long as a program uses the folder

	key         identity.Key
	label       identity.Label
	certificate []byte
	book        *pairing.Book // nil: everybody with the label may watch
	boot        uint64
	known       []netip.AddrPort // where the rendezvous was last found
	uncounted   error            // why the start could not be written down; nil: it was
}

// ErrInUse says that another program uses a state folder (errors.Is).
var ErrInUse = errors.New("another program uses this camera's folder: end that, or give each camera a folder of its own")

// openState reads a folder, and counts the start.
func openState(o Options) (*state, error) {
	s := &state{dir: o.Dir, key: o.Key, label: o.Label, certificate: o.Certificate}
	if err := s.open(o.OpenLabel); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *state) open(openLabel bool) (err error) {
	if s.dir == "" {
		return s.check()
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return err
	}
	if err = s.load(); err != nil {
		return err
	}
	if s.book, err = s.loadBook(openLabel); err != nil {
		return err
	}
	s.known = s.loadAddresses()
	s.boot, err = s.countStart(time.Now())
	return err
}

func (s *state) close() {
	if s.lock != nil {
		unlock(s.lock)
	}
}

// lockDir makes a folder the caller's alone, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open the camera's folder: there is no %s: 'punchlab provision' makes such folders", dir)
	case err != nil:
		return nil, fmt.Errorf("open the camera's folder: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("open the camera's folder: %s is a file: give the folder that it is in", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the camera's folder: %w: the camera must be able to write there", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("open %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// unlock gives a folder back. Closing the file would not do: a program that another goroutine is just starting, such as ffmpeg, has the
// descriptor too until it runs.
func unlock(lock *os.File) {
	_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
	_ = lock.Close()
}

// load reads what the maker delivered, as far as Options did not say it.
func (s *state) load() (err error) {
	if s.key.IsZero() {
		if s.key, err = identity.LoadKey(s.path(KeyFile)); err != nil {
			return s.missing(err, "the camera's key")
		}
	}
	if s.label.Key.IsZero() {
		b, err := identity.ReadSecret(s.path(LabelFile))
		if err != nil {
			return s.missing(fmt.Errorf("load label: %w", err), "the camera's label")
		}
		if s.label, err = identity.ParseLabel(string(b)); err != nil {
			return fmt.Errorf("load %s: %w", s.path(LabelFile), err)
		}
	}
	if s.certificate == nil {
		s.certificate, err = identity.LoadCertificate(s.path(CertificateFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.check()
}

func (s *state) missing(err error, what string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open the camera's folder: %s is not in %s: 'punchlab provision' makes folders that have it", what, s.dir)
	}
	return err
}

// check finds files that do not belong together.
func (s *state) check() error {
	switch {
	case s.label.Invited:
		return errors.New("start camera: that is an invitation for a viewer, not the camera's label")
	case s.label.Key != s.key.Public():
		return fmt.Errorf("start camera: the label is camera %s's, the key is %s's: put each camera's files into a folder of its own",
			s.label.UID(), s.key.Public().UID())
	}
	if s.certificate == nil {
		return nil
	}
	c, err := identity.ParseCertificate(s.certificate)
	switch {
	case err != nil:
		return fmt.Errorf("start camera: %w: get the camera's file from its maker again", err)
	case c.Device != s.key.Public():
		return fmt.Errorf("start camera: the certificate is camera %s's, the key is %s's: put each camera's files into a folder of its own",
			c.Device.UID(), s.key.Public().UID())
	}
	return nil
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// loadBook reads who may watch.
func (s *state) loadBook(open bool) (*pairing.Book, error) {
	cfg := pairing.Config{Camera: s.key.Public(), Secret: s.label.Secret, Open: open}
	b, err := identity.ReadSecret(s.path(PairingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return pairing.New(cfg), nil
	}
	if err != nil {
		return nil, fmt.Errorf("load pairings: %w", err)
	}
	book, err := pairing.Load(cfg, b)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", s.path(PairingsFile), err)
	}
	return book, nil
}

// savePairings keeps the book's bytes.
func (s *state) savePairings(b []byte) error {
	if err := identity.WriteFile(s.path(PairingsFile), b, 0o600); err != nil {
		return fmt.Errorf("save pairings: %w", err)
	}
	return nil
}

// Starts are counted for servers that would take a camera whose clock has gone back for a replay. The count goes on from the clock where
// that is ahead, so that a lost file does no harm while the clock is right; bootEpoch keeps it in 31 bits until 2091.
const (
	bootEpoch = 1_700_000_000
	bootMost  = 1 << 30 // of a clock that is believed
)

// countStart returns a number that is greater than at every start before, and keeps it. Where the disk does not take it, uncounted says
// why.
func (s *state) countStart(now time.Time) (uint64, error) {
	b, err := os.ReadFile(s.path(BootFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("count start: %w", err)
	}
	last, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 31) // of a damaged file nothing is left but the clock
	n := last + 1
	if clock := now.Unix() - bootEpoch; clock > 0 && clock < bootMost {
		n = max(n, uint64(clock))
	}
	// A disk that is full must not keep a camera from coming back: the number grows by the clock all the same.
	s.uncounted = identity.WriteFile(s.path(BootFile), []byte(strconv.FormatUint(n, 10)+"\n"), 0o644)
	return n, nil
}

// loadAddresses reads where the rendezvous was last found. It is a help alone: what cannot be read is not there.
func (s *state) loadAddresses() []netip.AddrPort {
	f, err := os.Open(s.path(AddressesFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	var known []netip.AddrPort
	if json.NewDecoder(io.LimitReader(f, 1<<16)).Decode(&known) != nil {
		return nil
	}
	return known
}

func (s *state) saveAddresses(known []netip.AddrPort) error {
	b, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return identity.WriteFile(s.path(AddressesFile), append(b, '\n'), 0o644)
}

// port is where the main socket last was; 0: not known.
func (s *state) port() uint16 {
	if s.dir == "" {
		return 0
	}
	b, err := os.ReadFile(s.path(PortFile))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	return uint16(n)
}

// keepPort remembers where the main socket is. It is a help alone.
func (s *state) keepPort(port uint16) {
	if s.dir != "" && s.port() != port {
		_ = identity.WriteFile(s.path(PortFile), []byte(strconv.Itoa(int(port))+"\n"), 0o644)
	}
}

// New makes a folder for a camera that no maker has provisioned: a key, and a label with a secret of its own. What is there already
// stays as it is.
func New(dir string, rendezvousKey identity.PublicKey, hosts []string, rand io.Reader) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the camera's folder: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock(lock)
	s := &state{dir: dir}
	if _, err := os.Stat(s.path(LabelFile)); err == nil {
		return nil
	}
	k, err := identity.LoadOrNewKey(s.path(KeyFile), func() (identity.Key, error) { return identity.NewKey(rand) })
	if err != nil {
		return err
	}
	l := identity.Label{Key: k.Public(), RendezvousKey: rendezvousKey, Rendezvous: hosts}
	if _, err := io.ReadFull(rand, l.Secret[:]); err != nil {
		return fmt.Errorf("draw the pairing secret: %w", err)
	}
	if err := l.Validate(); err != nil {
		return err
	}
	return identity.WriteFile(s.path(LabelFile), []byte(l.String()+"\n"), 0o600)
}

// Relabel gives the camera's label another secret, and returns the label: who knows the old one cannot become its owner by it any more.
// It is for a camera that can show its label, and refuses while a program uses the folder (ErrInUse).
func Relabel(dir string, rand io.Reader) (l identity.Label, err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return l, err
	}
	defer unlock(lock)
	s := &state{dir: dir}
	if err := s.load(); err != nil {
		return l, err
	}
	l = s.label
	if _, err := io.ReadFull(rand, l.Secret[:]); err != nil {
		return l, fmt.Errorf("draw the pairing secret: %w", err)
	}
	return l, identity.WriteFile(s.path(LabelFile), []byte(l.String()+"\n"), 0o600)
}

// Reset makes a state folder what the maker delivered: pairings, invitations, recordings' key and spool go, so that the label works
// again. Key, certificate and label stay. It refuses while a camera uses the folder (ErrInUse).
func Reset(dir string) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock(lock)
	s := &state{dir: dir}
	for _, name := range []string{PairingsFile, AddressesFile, PortFile, RecordingKey, PrivacyFile} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reset camera: %w", err)
		}
	}
	if err := os.RemoveAll(s.path(SpoolDir)); err != nil {
		return fmt.Errorf("reset camera: %w", err)
	}
	return nil
}
