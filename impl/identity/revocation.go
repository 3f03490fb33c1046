package identity

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RevocationList names the devices that a maker no longer stands for: stolen, copied, sent back. A text file:
//
//	PR1
//	maker 4XK0…                        52 symbols
//	number 7                           grows with each list
//	issued 2026-11-23T02:20:41Z
//	revoked 7ZK3-Q2MD-90XV-5R1T-HC8E-WB4N-6YGA       a line for each, in order
//	signature 5M3K…                    103 symbols, over "punchlab revocations v1" ‖ all lines before it
//
// Lists are complete: each replaces the one before, and takes back what it does not repeat.
type RevocationList struct {
	Maker  MakerPublic
	Number uint64
	Issued int64 // unix seconds
	uids   []UID // in order
}

const (
	revocationVersion = "PR1"
	revocationDomain  = "punchlab revocations v1"
	signatureSymbols  = 103 // 512 bits at 5 a symbol, rounded up
	// MaxRevocations bounds the devices that one list names.
	MaxRevocations = 1_000_000
)

// NewRevocationList returns a list of the devices in any order, to be signed. issued is in unix seconds.
func NewRevocationList(number uint64, issued int64, uids []UID) *RevocationList {
	return &RevocationList{Number: number, Issued: issued, uids: slices.Compact(slices.SortedFunc(slices.Values(uids), compareUIDs))}
}

func compareUIDs(a, b UID) int { return bytes.Compare(a[:], b[:]) }

// UIDs returns the devices in order.
func (l *RevocationList) UIDs() []UID { return slices.Clone(l.uids) }

// Contains says whether the list names the device.
func (l *RevocationList) Contains(u UID) bool {
	_, found := slices.BinarySearchFunc(l.uids, u, compareUIDs)
	return found
}

// Follows refuses to put l in the place of held: ErrOldList where its number is lower, or the same on another list.
func (l *RevocationList) Follows(held *RevocationList) error {
	switch {
	case l.Maker != held.Maker:
		return fmt.Errorf("replace list of revocations: %w", ErrWrongMaker)
	case l.Number < held.Number:
		return fmt.Errorf("replace list of revocations: %w: it is number %d, held is %d", ErrOldList, l.Number, held.Number)
	case l.Number == held.Number && (l.Issued != held.Issued || !slices.Equal(l.uids, held.uids)):
		return fmt.Errorf("replace list of revocations: %w: another list has its number, %d: sign it with a greater one", ErrOldList, l.Number)
	}
	return nil
}

// Revoke signs l as k's and returns the file's text; l.Maker is not looked at.
func (k MakerKey) Revoke(l *RevocationList) []byte {
	body := l.body(k.Public())
	signature := ed25519.Sign(k.private[:], append([]byte(revocationDomain), body...))
	return fmt.Appendf(body, "signature %s\n", encode32(signature, signatureSymbols))
}

// body returns the lines before the signature.
func (l *RevocationList) body(maker MakerPublic) []byte {
	b := fmt.Appendf(nil, "%s\nmaker %v\nnumber %d\nissued %s\n", revocationVersion, maker, l.Number, time.Unix(l.Issued, 0).UTC().Format(time.RFC3339))
	for _, u := range l.uids {
		b = fmt.Appendf(b, "revoked %v\n", u)
	}
	return b
}

// ParseRevocationList reads what Revoke wrote, and checks the signature of the maker it names. The errors name the line.
func ParseRevocationList(text []byte) (*RevocationList, error) {
	fail := func(line int, format string, a ...any) (*RevocationList, error) {
		return nil, fmt.Errorf("parse list of revocations: line %d %s", line, fmt.Sprintf(format, a...))
	}
	lines := strings.Split(string(text), "\n")
	n := len(lines)
	if lines[0] != revocationVersion {
		return fail(1, "is not %s: this is no list of revocations that this program knows", revocationVersion)
	}
	if n < 6 || lines[n-1] != "" || !strings.HasPrefix(lines[n-2], "signature ") {
		return fail(n, "is not the signature's end: the file is cut short")
	}
	if n-6 > MaxRevocations {
		return fail(n, "is too much: at most %d devices are allowed", MaxRevocations)
	}
	l := &RevocationList{uids: make([]UID, n-6)}
	fields := []struct {
		name string
		read func(string) error
	}{
		{"maker", func(s string) (err error) { l.Maker, err = ParseMakerPublic(s); return err }},
		{"number", func(s string) (err error) { l.Number, err = strconv.ParseUint(s, 10, 64); return err }},
		{"issued", func(s string) error {
			at, err := time.Parse(time.RFC3339, s)
			l.Issued = at.Unix()
			return err
		}},
	}
	for i, f := range fields {
		value, ok := strings.CutPrefix(lines[i+1], f.name+" ")
		if !ok {
			return fail(i+2, "does not begin with %q", f.name)
		}
		if err := f.read(value); err != nil {
			return fail(i+2, "(%s): %v", f.name, err)
		}
	}
	for i := range l.uids {
		value, ok := strings.CutPrefix(lines[i+4], "revoked ")
		u, err := ParseUID(value)
		if !ok || err != nil {
			return fail(i+5, "is not \"revoked\" and a UID")
		}
		l.uids[i] = u
	}
	var signature [signatureSize]byte
	if err := decode32(signature[:], strings.TrimPrefix(lines[n-2], "signature ")); err != nil {
		return fail(n-1, "(signature) %v", err)
	}
	body := text[:len(text)-len(lines[n-2])-1]
	if !verify(l.Maker, revocationDomain, slices.Concat(body, signature[:])) {
		return fail(n-1, "(signature) is not the maker's for this text: take the list from the maker again")
	}
	if !bytes.Equal(l.body(l.Maker), body) || !slices.IsSortedFunc(l.uids, compareUIDs) || len(slices.Compact(slices.Clone(l.uids))) != len(l.uids) {
		return fail(1, "and what follows is signed, but not as this program writes lists")
	}
	return l, nil
}
