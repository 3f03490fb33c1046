package identity

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What is wrong with a device's certificate (errors.Is).
var (
	ErrNoCertificate = errors.New("the device has no certificate")
	ErrCertificate   = errors.New("the certificate is not valid")
	ErrWrongMaker    = errors.New("the certificate is of a maker that is not served here")
	ErrExpired       = errors.New("the certificate has expired")
	ErrRevoked       = errors.New("the maker has revoked the certificate")
)

// ErrOldList says that a list of revocations is older than the one held.
var ErrOldList = errors.New("the list of revocations is older than the one held")

// Trust says whose cameras a rendezvous serves. The zero value and nil serve everybody's.
//
// It does not rely on the clock alone. The greatest of the clock, Floor and the lists' times of issue is taken for the time:
// an expired certificate does not come back to life by a dead battery. A certificate from the future is accepted, since it
// is the clock that is wrong: a rendezvous that came up in 1970 refuses no camera. A clock far ahead finds everything
// expired; the errors name both dates.
//
// Checking does not change it: it can be shared by readers, and replaced whole.
type Trust struct {
	Makers  []MakerPublic     // empty: everybody is served, and nothing is looked at
	Revoked []*RevocationList // at most one of each maker; by Hold
	Floor   int64             // unix seconds: it is known to be later than this, as by the time of the program's build
}

// Now returns what is taken for the time, in unix seconds, where the clock says now.
func (t *Trust) Now(now int64) int64 {
	if t == nil {
		return now
	}
	now = max(now, t.Floor)
	for _, l := range t.Revoked {
		now = max(now, l.Issued)
	}
	return now
}

// Check says what is wrong with the certificate of the device whose key has been proved: ErrNoCertificate, ErrCertificate,
// ErrWrongMaker, ErrExpired or ErrRevoked. now is in unix seconds.
func (t *Trust) Check(now int64, device PublicKey, cert []byte) error {
	switch {
	case t == nil || len(t.Makers) == 0:
		return nil
	case len(cert) == 0:
		return fmt.Errorf("check certificate: %w", ErrNoCertificate)
	}
	c, err := decodeCertificate(cert)
	if err != nil {
		return err
	}
	if err := t.CheckFacts(now, device, c); err != nil {
		return err // before the signature, which takes the time
	}
	if !verify(c.Maker, certificateDomain, cert) {
		return fmt.Errorf("check certificate: %w: the maker's signature is wrong", ErrCertificate)
	}
	return nil
}

// CheckFacts is Check for a certificate whose signature has been checked before: what a change of makers or lists, or
// the passing of time, can have changed.
func (t *Trust) CheckFacts(now int64, device PublicKey, c Certificate) error {
	switch now = t.Now(now); {
	case t == nil || len(t.Makers) == 0:
		return nil
	case c.Device != device:
		return fmt.Errorf("check certificate: %w: it is another device's", ErrCertificate)
	case !slices.Contains(t.Makers, c.Maker):
		return fmt.Errorf("check certificate: %w", ErrWrongMaker)
	case t.revoked(c):
		return fmt.Errorf("check certificate: %w", ErrRevoked)
	case c.NotAfter != 0 && now > c.NotAfter:
		return fmt.Errorf("check certificate: %w: it held until %s, and this clock says %s", ErrExpired, date(c.NotAfter), date(now))
	}
	return nil
}

// revoked says whether the certificate's maker has revoked the device.
func (t *Trust) revoked(c Certificate) bool {
	return slices.ContainsFunc(t.Revoked, func(l *RevocationList) bool { return l.Maker == c.Maker && l.Contains(c.Device.UID()) })
}

// Hold puts a list in the place of the one held of the same maker. It refuses the list of a maker that is not trusted, and
// one that is older than the held one (ErrOldList): who can hand over files could otherwise bring back a stolen camera.
func (t *Trust) Hold(l *RevocationList) error {
	if !slices.Contains(t.Makers, l.Maker) {
		return fmt.Errorf("hold list of revocations: %w: its maker is %v", ErrWrongMaker, l.Maker)
	}
	i := slices.IndexFunc(t.Revoked, func(held *RevocationList) bool { return held.Maker == l.Maker })
	if i < 0 {
		t.Revoked = append(t.Revoked, l)
		return nil
	}
	if err := l.Follows(t.Revoked[i]); err != nil {
		return err
	}
	t.Revoked[i] = l
	return nil
}

func date(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02") }
