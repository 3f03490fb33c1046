package rendezvous

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// policy is whom a server serves, as its files say. It is replaced whole.
type policy struct {
	trust   identity.Trust
	account identity.AccountPublic // zero: every viewer is served
}

// policy reads the files that Options name. Revocation lists that are older than those in force are refused.
func (o Options) policy(held *policy) (*policy, error) {
	p := &policy{}
	for _, m := range o.Makers {
		for _, text := range lines(m) {
			k, err := identity.ParseMakerPublic(text)
			if err != nil {
				return nil, fmt.Errorf("maker's public key %q (a key, or a file of keys, as 'punchlab provision --print-maker' prints it): %w", m, err)
			}
			if identity.PublicKey(k) == o.Key.Public() {
				return nil, fmt.Errorf("maker's public key %q: it is this rendezvous' own: give what 'punchlab provision --print-maker' prints", m)
			}
			p.trust.Makers = append(p.trust.Makers, k)
		}
	}
	if len(o.Makers) > 0 && len(p.trust.Makers) == 0 { // to serve everybody's cameras then would be the opposite of what was asked for
		return nil, fmt.Errorf("makers' public keys: there is none in %s: give what 'punchlab provision --print-maker' prints, or leave the option out to "+
			"serve everybody's cameras", strings.Join(o.Makers, ", "))
	}
	if len(o.Revoked) > 0 && len(p.trust.Makers) == 0 {
		return nil, errors.New("a list of revocations is of no use without its maker's public key: name the makers whose cameras are served")
	}
	if held != nil {
		p.trust.Revoked = append(p.trust.Revoked, held.trust.Revoked...)
	}
	for _, name := range o.Revoked {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("list of revocations: %w: 'punchlab provision --revoke' makes it", err)
		}
		l, err := identity.ParseRevocationList(b)
		if err == nil {
			err = p.trust.Hold(l)
		}
		switch {
		case errors.Is(err, identity.ErrOldList):
			return nil, fmt.Errorf("list of revocations %s: %w: get the maker's newest", name, err)
		case errors.Is(err, identity.ErrWrongMaker):
			return nil, fmt.Errorf("list of revocations %s: %w: give his public key too, or the list of a maker whose key is given", name, err)
		case err != nil:
			return nil, fmt.Errorf("list of revocations %s: %w", name, err)
		}
	}
	if o.Account != "" {
		text := strings.Join(lines(o.Account), "")
		var err error
		if p.account, err = identity.ParseAccountPublic(text); err != nil {
			return nil, fmt.Errorf("account's public key %q (a key, or a file, as 'punchlab account new' prints it): %w", o.Account, err)
		}
	}
	return p, nil
}

// lines is what a file of the name holds, without empty lines and comments, or the name itself where there is no such file.
func lines(name string) (all []string) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || err != nil && !strings.ContainsAny(name, "/.") {
		return []string{name}
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// camera is the core's Config.Trust.
func (h *Handle) camera(now time.Time, device identity.PublicKey, certificate []byte) wire.Code {
	return code(h.policy.Load().trust.Check(now.Unix(), device, certificate))
}

// standing is the core's Config.Standing.
func (h *Handle) standing(now time.Time, device identity.PublicKey, c identity.Certificate) wire.Code {
	return code(h.policy.Load().trust.CheckFacts(now.Unix(), device, c))
}

// viewer is the core's Config.Account.
func (h *Handle) viewer(now time.Time, viewer identity.PublicKey, token []byte) wire.Code {
	p := h.policy.Load()
	if p.account.IsZero() {
		return 0
	}
	switch err := p.account.CheckToken(p.trust.Now(now.Unix()), viewer, token); {
	case err == nil:
		return 0
	case errors.Is(err, identity.ErrTokenExpired):
		return wire.CodeAccountExpired
	}
	return wire.CodeAccount
}

// code is what a device is told of its certificate.
func code(err error) wire.Code {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, identity.ErrWrongMaker):
		return wire.CodeWrongMaker
	case errors.Is(err, identity.ErrExpired):
		return wire.CodeCertificateExpired
	case errors.Is(err, identity.ErrRevoked):
		return wire.CodeRevoked
	}
	return wire.CodeCertificate
}

// follows refuses a list of revocations that is older than one that was in force before this server was started last, and
// remembers the numbers of those that are not. Without a database nothing is remembered.
func (h *Handle) follows(p *policy) error {
	if h.store == nil {
		return nil
	}
	name := func(l *identity.RevocationList) string { return "revocations of " + l.Maker.String() }
	for _, l := range p.trust.Revoked {
		if held := h.store.Greatest(name(l)); l.Number < held {
			return fmt.Errorf("list of revocations of the maker %v: %w: it is number %d, number %d was in force before: get the maker's newest",
				l.Maker, identity.ErrOldList, l.Number, held)
		}
	}
	for _, l := range p.trust.Revoked {
		h.store.Raise(name(l), l.Number)
	}
	return nil
}

// Reload reads the files of makers, revocations and account again. Who is revoked loses his session at once. On an error what
// was read before stays in force.
func (h *Handle) Reload() error {
	p, err := h.opt.policy(h.policy.Load())
	if err == nil {
		err = h.follows(p)
	}
	if err != nil {
		return err
	}
	h.policy.Store(p)
	h.node.Do(h.core.Recheck)
	revoked := 0
	for _, l := range p.trust.Revoked {
		revoked += len(l.UIDs())
	}
	h.opt.Log.Info("read again", "makers", len(p.trust.Makers), "revocations", revoked)
	return nil
}
