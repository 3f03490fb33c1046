package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

func TestSplitCutsAfterEachSlice(t *testing.T) {
	nal := func(kind byte, body ...byte) []byte { return append(append(bytes.Clone(startCode), kind), body...) }
	key := bytes.Join([][]byte{nal(0x67, 1), nal(0x68, 2), nal(0x65, 3, 0, 0, 3, 1)}, nil)
	next := nal(0x41, 4)
	got := split(bytes.Join([][]byte{key, next, next}, nil))
	if len(got) != 3 || !bytes.Equal(got[0], key) || !bytes.Equal(got[1], next) || !bytes.Equal(got[2], next) {
		t.Errorf("pictures %x", got)
	}
	if got := split(nal(0x67, 1)); got != nil {
		t.Errorf("parameter sets alone make a picture: %x", got)
	}
	if got := split([]byte("nothing")); got != nil {
		t.Errorf("no start code, and %x", got)
	}
}

// The project's clip has 100 pictures, a key frame each 25.
func TestSplitOfTheClip(t *testing.T) {
	b, err := os.ReadFile("../../media/clip.h264")
	if err != nil {
		t.Fatal(err)
	}
	pictures := split(b)
	if len(pictures) != 100 || !bytes.Equal(bytes.Join(pictures, nil), b) {
		t.Fatalf("%d pictures", len(pictures))
	}
	for i, p := range pictures {
		at := bytes.Index(p, startCode) + len(startCode)
		if key := p[at]&0x1f == 7; key != (i%25 == 0) {
			t.Errorf("picture %d begins with NAL unit type %d", i, p[at]&0x1f)
		}
	}
}

func TestFramesGoThere(t *testing.T) {
	want := frame{index: 3, captured: time.Unix(5, 6), data: []byte("picture")}
	var b bytes.Buffer
	if err := want.write(&b); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(b.Bytes())
	begun := 0
	got, err := readFrame(&b, func() { begun++ })
	if err != nil || got.index != 3 || !got.captured.Equal(want.captured) || string(got.data) != "picture" || begun != 1 {
		t.Errorf("%+v, %v, begun %d times", got, err, begun)
	}
	for n := range whole {
		if _, err := readFrame(bytes.NewReader(whole[:n]), func() {}); err == nil {
			t.Errorf("%d of %d bytes make a frame", n, len(whole))
		}
	}
	whole[12] = 0xff
	if _, err := readFrame(bytes.NewReader(whole), func() {}); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame of 4 GB: %v", err)
	}
}

func TestRequests(t *testing.T) {
	var b bytes.Buffer
	if err := (request{from: 3, count: 9}).write(&b); err != nil {
		t.Fatal(err)
	}
	if got, err := readRequest(&b); err != nil || got != (request{3, 9}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, q := range []request{{0, maxFrames + 1}, {5, 4}} {
		_ = q.write(&b)
		if _, err := readRequest(&b); err == nil {
			t.Errorf("%+v is served", q)
		}
	}
}

func TestDocumentationNetworksArePublic(t *testing.T) {
	trustDocumentation()
	for addr, want := range map[string]bool{
		"/ip4/198.51.100.1/tcp/1": true, "/ip4/203.0.113.9/udp/1/quic-v1": true, "/ip6/2001:db8::1/tcp/1": true,
		"/ip4/192.168.1.1/tcp/1": false, "/ip4/100.64.0.1/tcp/1": false, "/ip4/10.0.0.1/tcp/1": false, "/ip6/fd00::1/tcp/1": false,
	} {
		if got := manet.IsPublicAddr(ma.StringCast(addr)); got != want {
			t.Errorf("%s is public: %v, want %v", addr, got, want)
		}
	}
}

func TestKeysComeFromTheSeed(t *testing.T) {
	ids := map[string]bool{}
	for seed := range uint64(3) {
		for _, role := range []int{relayRole, cameraRole, viewerRole} {
			_, id, err := keyOf(seed, role)
			if err != nil {
				t.Fatal(err)
			}
			_, again, _ := keyOf(seed, role)
			if again != id || ids[id.String()] {
				t.Errorf("seed %d, role %d: %s, then %s", seed, role, id, again)
			}
			ids[id.String()] = true
		}
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("PUNCHLAB_RENDEZVOUS", "198.51.100.1,2001:db8::1")
	c, err := parse("viewer", []string{"-seed", "7", "-clip", "x", "-media", "2s"})
	if err != nil || c.seed != 7 || c.media != 2*time.Second || len(c.relay) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	info, err := c.throughRelay()
	if err != nil || len(info.Addrs) != 4 || !strings.Contains(info.Addrs[2].String(), "/ip6/2001:db8::1/udp/4001/quic-v1/p2p/") || !isRelayed(info.Addrs[2]) {
		t.Errorf("%v, %v", info, err)
	}
	for _, args := range [][]string{{"-relay", "nowhere"}, {"-port", "70000"}, {"-media", "1s"}, {"-relay", ""}} {
		if _, err := parse("viewer", args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
	if err := run([]string{"server"}); err == nil {
		t.Error("a role that is none is run")
	}
}
