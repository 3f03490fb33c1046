package cases

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// RFC 5769 §2.1 to §2.3.
const (
	vectorRequest = `00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74 00240004 6e0001ff
		80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020 00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf`
	vectorResponse = `0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200008 0001a147 e112a643
		00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96`
	vectorResponse6 = `01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200014 0002a147 0113a9fa a5d3f179 bc25f4b5
		bed2b9d9 00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c`
)

func vector(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSTUNVectors reads RFC 5769's messages, and makes its request.
func TestSTUNVectors(t *testing.T) {
	for _, c := range []struct {
		text   string
		class  uint8
		mapped string
	}{
		{vectorRequest, stunRequest, ""},
		{vectorResponse, stunSuccess, "192.0.2.1:32853"},
		{vectorResponse6, stunSuccess, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"},
	} {
		b := vector(t, c.text)
		m, err := readSTUN(b)
		if err != nil || m.class != c.class || m.method != stunBinding {
			t.Fatalf("%x: class %d, method %d, %v", b, m.class, m.method, err)
		}
		if err := m.verify(); err != nil {
			t.Errorf("%x: %v", b, err)
		}
		a, _ := m.find(attrIntegrity)
		if want := integrity(m.until(a.at, 24), samplePassword); !bytes.Equal(a.value, want) {
			t.Errorf("MESSAGE-INTEGRITY is %x, %x was reckoned", a.value, want)
		}
		if a, ok := m.find(attrXorMapped); ok != (c.mapped != "") {
			t.Errorf("XOR-MAPPED-ADDRESS: %v", ok)
		} else if ok {
			if at, err := m.address(a); err != nil || at != netip.MustParseAddrPort(c.mapped) {
				t.Errorf("it is mapped to %v: %v", at, err)
			}
		}
	}
	request := vector(t, vectorRequest)
	if b := sampleRequest([12]byte(request[8:20]), samplePassword); !bytes.Equal(b, request) {
		t.Errorf("the sample request is\n%x, the RFC's is\n%x", b, request)
	}
}

// TestSTUNFaults changes each byte of the samples behind the transaction: FINGERPRINT tells, unless the message cannot be read.
func TestSTUNFaults(t *testing.T) {
	for _, text := range []string{vectorRequest, vectorResponse, vectorResponse6} {
		for i := range len(vector(t, text)) {
			b := vector(t, text)
			b[i] ^= 0x41
			m, err := readSTUN(b)
			if err == nil && m.has(attrFingerprint) {
				err = m.verify()
			}
			if err == nil && m.has(attrFingerprint) {
				t.Errorf("byte %d may be another", i)
			}
		}
		b := vector(t, text)
		for n := range b {
			if m, err := readSTUN(b[:n]); err == nil {
				t.Errorf("the first %d bytes are read as a message with %d attributes", n, len(m.attrs))
			}
		}
	}
	for _, b := range [][]byte{
		withFingerprint(withAttr(withFingerprint(newSTUN(stunRequest, [12]byte{1})), attrSoftware, []byte("late"))),
		withAttr(withIntegrity(newSTUN(stunRequest, [12]byte{1}), "x"), attrSoftware, []byte("late")),
		withAttr(newSTUN(stunSuccess, [12]byte{1}), attrXorMapped, make([]byte, 12)),
		withAttr(newSTUN(stunRequest, [12]byte{1}), attrUsername, []byte{0xff}),
		withAttr(newSTUN(stunRequest, [12]byte{1}), attrPriority, []byte{1}),
	} {
		m, err := readSTUN(b)
		if err == nil {
			err = m.verify()
		}
		if err == nil {
			t.Errorf("%x is taken for right", b)
		}
	}
}
