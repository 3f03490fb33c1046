package identity

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/crypto/blake2s"
)

const (
	labelPrefix   = "PL1"
	invitePrefix  = "PI1"
	labelDomain   = "punchlab label v1"
	secretSymbols = 26
	checkSymbols  = 6 // 30 bits
	maxHosts      = 4
	maxHostLength = 64
	// MaxLabel is the longest label, in characters. A label with one host name of
	// usual length stays under 200.
	MaxLabel = 400
)

// Label is what a viewer must know of a camera: as the maker prints it (PL1), or
// as the camera's owner invites a guest by it (PI1). It uses QR's alphanumeric
// characters only (unless a host is an IPv6 address), so the code stays small.
type Label struct {
	Key           PublicKey // the camera's
	RendezvousKey PublicKey
	Rendezvous    []string // HOST:PORT, one to four, tried in this order
	Secret        Secret   // the pairing secret, or the invitation's
	Invited       bool     // it is an invitation: what it allows and until when, the camera knows
}

// UID is the camera's.
func (l Label) UID() UID { return l.Key.UID() }

// Validate says what keeps l from being printed, if anything.
func (l Label) Validate() error {
	switch {
	case l.Key.IsZero():
		return fmt.Errorf("check label: the camera's key is missing")
	case l.RendezvousKey.IsZero():
		return fmt.Errorf("check label: the rendezvous key is missing")
	case len(l.Rendezvous) == 0:
		return fmt.Errorf("check label: it names no rendezvous host")
	case len(l.Rendezvous) > maxHosts:
		return fmt.Errorf("check label: it names %d rendezvous hosts, at most %d fit", len(l.Rendezvous), maxHosts)
	}
	for _, h := range l.Rendezvous {
		if err := checkHost(h); err != nil {
			return fmt.Errorf("check label: rendezvous host %q: %w", h, err)
		}
	}
	return nil
}

// String returns the label's text, one line, upper case. It contains the secret.
func (l Label) String() string {
	hosts := make([]string, len(l.Rendezvous))
	for i, h := range l.Rendezvous {
		hosts[i] = strings.ToUpper(h)
	}
	prefix := labelPrefix
	if l.Invited {
		prefix = invitePrefix
	}
	body := strings.Join([]string{prefix, l.Key.String(), l.RendezvousKey.String(),
		encode32(l.Secret[:], secretSymbols), strings.Join(hosts, "+")}, "/")
	return body + "/" + labelCheck(body)
}

func labelCheck(body string) string {
	h := blake2s.Sum256([]byte(labelDomain + body))
	return encode32(h[:], checkSymbols)
}

// ParseLabel reads what String wrote, in either case and with surrounding white
// space. The error says which part is wrong.
func ParseLabel(s string) (Label, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) > MaxLabel {
		return Label{}, fmt.Errorf("parse label: it has %d characters, at most %d are allowed", len(s), MaxLabel)
	}
	parts := strings.Split(s, "/")
	if !strings.HasPrefix(parts[0], "PL") && !strings.HasPrefix(parts[0], "PI") {
		return Label{}, fmt.Errorf("parse label: it does not start with %s/ or %s/: this is not a camera's label", labelPrefix, invitePrefix)
	}
	if parts[0] != labelPrefix && parts[0] != invitePrefix {
		shown := parts[0][:min(len(parts[0]), 8)] // without slashes this would be all of it
		return Label{}, fmt.Errorf("parse label: version %q is not known, only %s and %s: update this program", shown, labelPrefix, invitePrefix)
	}
	if len(parts) != 6 {
		return Label{}, fmt.Errorf("parse label: it has %d parts between slashes, want 6: it is cut short or two labels ran together", len(parts))
	}
	l := Label{Invited: parts[0] == invitePrefix}
	if err := decode32(l.Key[:], parts[1]); err != nil {
		return Label{}, fmt.Errorf("parse label: the camera's key %w", err)
	}
	if err := decode32(l.RendezvousKey[:], parts[2]); err != nil {
		return Label{}, fmt.Errorf("parse label: the rendezvous key %w", err)
	}
	if err := decode32(l.Secret[:], parts[3]); err != nil {
		return Label{}, fmt.Errorf("parse label: the pairing secret %w", err)
	}
	for h := range strings.SplitSeq(parts[4], "+") {
		l.Rendezvous = append(l.Rendezvous, strings.ToLower(h))
	}
	if err := l.Validate(); err != nil {
		return Label{}, fmt.Errorf("parse label: %w", err)
	}
	if l.String()[len(l.String())-checkSymbols:] != canonical(parts[5]) {
		return Label{}, fmt.Errorf("parse label: the check characters do not match: a character is wrong, scan it again")
	}
	return l, nil
}

// canonical rewrites what people type for a symbol into the symbol itself.
func canonical(s string) string {
	b := []byte(s)
	for i, c := range b {
		if v, ok := symbol(c); ok {
			b[i] = alphabet[v]
		}
	}
	return string(b)
}

// checkHost accepts HOST:PORT where HOST is an IP address (IPv6 in brackets) or
// a DNS name.
func checkHost(s string) error {
	if len(s) > maxHostLength {
		return fmt.Errorf("has %d characters, at most %d are allowed", len(s), maxHostLength)
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return fmt.Errorf("has no port: write HOST:PORT")
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		if a, err := netip.ParseAddr(host[1 : len(host)-1]); err != nil || !a.Is6() || a.Zone() != "" {
			return fmt.Errorf("%s is not an IPv6 address", host)
		}
		return nil
	}
	return checkName(host)
}

func checkName(host string) error {
	if host == "" {
		return fmt.Errorf("has no host name")
	}
	if strings.HasPrefix(host, "-") || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return fmt.Errorf("%q is not a host name", host)
	}
	for i := range len(host) {
		c := host[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '.' {
			return fmt.Errorf("%q does not belong in a host name (an IPv6 address goes in brackets)", c)
		}
	}
	return nil
}
