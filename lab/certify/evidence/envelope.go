package evidence

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

const maxSignatures = 1000

// sign puts a payload into an envelope.
func sign(ctx context.Context, payload []byte, keys ...*Key) (*dsse.Envelope, error) {
	signers := make([]dsse.Signer, len(keys))
	for i, k := range keys {
		signers[i] = k
	}
	s, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return nil, err
	}
	e, err := s.SignPayload(ctx, PayloadType, payload)
	if err == nil {
		sortSignatures(e)
	}
	return e, err
}

// sortSignatures gives signatures their one order.
func sortSignatures(e *dsse.Envelope) {
	slices.SortFunc(e.Signatures, func(a, b dsse.Signature) int { return cmp.Compare(a.KeyID, b.KeyID) })
}

// readEnvelope reads certificate.json and its payload, and checks their form, not yet the signatures.
func readEnvelope(b []byte) (*dsse.Envelope, []byte, *Mismatch) {
	malformed := func(format string, a ...any) (*dsse.Envelope, []byte, *Mismatch) {
		return nil, nil, mismatch(Malformed, CertificateFile, format, a...)
	}
	e := &dsse.Envelope{}
	if err := decode(b, e); err != nil {
		return malformed("%v", err)
	}
	if e.PayloadType != PayloadType {
		return malformed("its payload is %q; want %q", e.PayloadType, PayloadType)
	}
	payload, ok := decode64(e.Payload)
	if !ok {
		return malformed("its payload is not base64")
	}
	if len(e.Signatures) == 0 || len(e.Signatures) > maxSignatures {
		return nil, nil, mismatch(Signature, CertificateFile, "it has %d signatures, want 1 to %d", len(e.Signatures), maxSignatures)
	}
	last := ""
	for i, s := range e.Signatures {
		if !isDigest(s.KeyID) {
			return malformed("signatures[%d]: %q is no key ID", i, s.KeyID)
		}
		if s.KeyID == last {
			return nil, nil, mismatch(Signature, CertificateFile, "signatures[%d]: key %s has signed twice", i, s.KeyID)
		}
		if s.KeyID < last {
			return malformed("signatures[%d]: they are not in the order of their keys", i)
		}
		if _, ok := decode64(s.Sig); !ok {
			return malformed("signatures[%d] is not base64", i)
		}
		last = s.KeyID
	}
	return e, payload, nil
}

// decode64 reads base64 in its one form: the standard alphabet, padded, no stray bits or line breaks.
func decode64(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil && base64.StdEncoding.EncodeToString(b) == s
}

// signers returns the IDs of those keys which have signed. A wrong signature by one of them is a mismatch; other keys'
// signatures are passed over: nothing is known of them yet.
func signers(ctx context.Context, e *dsse.Envelope, keys map[string]PublicKey) (map[string]bool, *Mismatch) {
	signed := map[string]bool{}
	for i, s := range e.Signatures {
		key, ok := keys[s.KeyID]
		if !ok {
			continue
		}
		v, err := dsse.NewEnvelopeVerifier(checker{key})
		if err == nil {
			one := &dsse.Envelope{PayloadType: e.PayloadType, Payload: e.Payload, Signatures: []dsse.Signature{s}}
			_, err = v.Verify(ctx, one)
		}
		if err != nil {
			return nil, mismatch(Signature, CertificateFile, "signatures[%d]: it is not by key %s over this statement", i, s.KeyID)
		}
		signed[s.KeyID] = true
	}
	return signed, nil
}
