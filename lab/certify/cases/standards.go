package cases

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// standards are the procedures of group STD.
func standards() map[string]Procedure {
	return map[string]Procedure{"STD-1": stunVectors, "STD-2": consentJittered, "STD-3": cappedAndPaced}
}

// vectors is a run of STD-1.
type vectors struct {
	*stage.Stage
	x          *stage.Set
	camera     *stage.Camera
	unverified int            // messages whose MESSAGE-INTEGRITY nobody here has the key of
	seen       map[uint16]int // attributes
}

// stunVectors is STD-1.
func stunVectors(ctx context.Context, s *stage.Stage) certify.Result {
	v := &vectors{Stage: s, seen: map[uint16]int{}}
	if r, bad := v.listen(ctx); bad {
		return r
	}
	if r, bad := v.ask(ctx); bad {
		return r
	}
	if r, bad := v.read(); bad {
		return r
	}
	switch {
	case s.Observed("stun") == 0:
		return s.Inconclusive("the camera sent no STUN message")
	case v.unverified > 0:
		return s.PassNonstrict("MESSAGE-INTEGRITY of %d messages is where it has to be; its keys are known to camera and viewer alone", v.unverified)
	}
	return s.Pass()
}

// listen has the camera do what it needs STUN for, until it has sent as many messages as are to be seen.
func (v *vectors) listen(ctx context.Context) (r certify.Result, bad bool) {
	var err error
	if v.x, v.camera, err = bring(ctx, v.Stage, "attackers"); err != nil {
		return v.Judge(err), true
	}
	enough := v.Case().Observed[0].Min
	began := time.Now()
	for {
		if _, err := glance(ctx, v.x, stage.Viewing{Camera: v.camera, For: shortLook}, "to have it speak STUN", time.Now(), v.Decl().Bounds.Recovery); err != nil {
			return outcome(v.Stage, err), true
		}
		if len(v.sent()) >= enough || time.Since(began) > v.For(time.Minute, 5*time.Second) {
			return r, false
		}
		if _, err := killCamera(ctx, &trials{Stage: v.Stage, x: v.x, camera: v.camera}); err != nil {
			return v.Judge(err), true
		}
	}
}

func (v *vectors) sent() []tape.Packet { return v.x.Tape().Packets(0, v.camera.Out(), aSTUNPacket) }

func aSTUNPacket(p *tape.Packet) bool { return tape.UDP(p) && aSTUN(p.Payload) }

// stunQuestion is a request that the camera's port is asked.
type stunQuestion struct {
	what  string
	wrong bool // it must not be answered with success
	make  func(id [12]byte) []byte
}

var stunQuestions = []stunQuestion{
	{"a request without credentials", false, func(id [12]byte) []byte {
		return withFingerprint(withAttr(newSTUN(stunRequest, id), attrSoftware, []byte("STUN test client")))
	}},
	{"the RFC's request, by a user and a password that it does not know", true, func(id [12]byte) []byte { return sampleRequest(id, samplePassword) }},
	{"the RFC's request with a wrong MESSAGE-INTEGRITY", true, func(id [12]byte) []byte { return sampleRequest(id, "another") }},
	{"the RFC's request with a wrong FINGERPRINT", true, func(id [12]byte) []byte {
		b := sampleRequest(id, samplePassword)
		b[len(b)-1] ^= 1
		return b
	}},
	{"a request without credentials, with a wrong FINGERPRINT", true, func(id [12]byte) []byte {
		b := withFingerprint(withAttr(newSTUN(stunRequest, id), attrSoftware, []byte("STUN test client")))
		b[len(b)-1] ^= 1
		return b
	}},
}

// ask asks the ports that the camera speaks STUN from, from another host of its LAN.
func (v *vectors) ask(ctx context.Context) (r certify.Result, bad bool) {
	i := slices.IndexFunc(v.camera.Addrs(), netip.Addr.Is4)
	if i < 0 {
		return r, false
	}
	conn, err := v.x.Host("on-path").ListenUDP(netip.AddrPort{})
	if err != nil {
		return v.Judge(err), true
	}
	defer conn.Close()
	from, ports := v.x.Tape().Mark(), v.ports()
	asked := map[[12]byte]stunQuestion{}
	draw := rand.NewChaCha8(seed32(v.Seed(1)))
	for _, port := range ports {
		for _, q := range stunQuestions {
			var id [12]byte
			_, _ = draw.Read(id[:])
			asked[id] = q
			if _, err := conn.WriteToUDPAddrPort(q.make(id), netip.AddrPortFrom(v.camera.Addrs()[i], port)); err != nil {
				return v.Judge(fmt.Errorf("ask the camera's port %d: %w", port, err)), true
			}
		}
	}
	if err := v.Pause(ctx, v.For(2*time.Second, 500*time.Millisecond)); err != nil { // for as long as it may answer
		return v.Judge(err), true
	}
	return v.answered(from, ports, asked)
}

// ports are those that the camera has spoken STUN from, and those that are declared, eight at most.
func (v *vectors) ports() (ports []uint16) {
	add := func(n uint16) {
		if !slices.Contains(ports, n) && len(ports) < 8 {
			ports = append(ports, n)
		}
	}
	for _, p := range v.sent() {
		add(p.Src.Port())
	}
	for _, p := range v.Decl().Bounds.Ports {
		if p.Protocol == "udp" {
			add(p.Number)
		}
	}
	return ports
}

// answered judges how the camera answered questions, from a position of the tape on.
func (v *vectors) answered(from int, ports []uint16, asked map[[12]byte]stunQuestion) (r certify.Result, bad bool) {
	answers := 0
	for _, p := range v.x.Tape().Packets(from, v.camera.Out(), aSTUNPacket) {
		m, err := readSTUN(p.Payload)
		q, ours := asked[m.id]
		if err != nil || !ours {
			continue
		}
		answers++
		v.Note("asked at port %d with %s, it answered by class %d", p.Src.Port(), q.what, m.class)
		if q.wrong && m.class == stunSuccess {
			v.Saw("stun", len(v.sent()))
			return v.Fail("its port %d answered %s with success", p.Src.Port(), q.what), true
		}
	}
	v.Note("of %d requests to %d ports it answered %d", len(asked), len(ports), answers)
	v.Record(map[string]any{"ports": ports, "requests": len(asked), "answers": answers})
	return r, false
}

// read holds what the camera has sent to the RFC.
func (v *vectors) read() (r certify.Result, bad bool) {
	came := map[[12]byte]netip.AddrPort{} // whose requests
	for _, p := range v.x.Tape().Packets(0, tape.CameTo(v.camera.Host()), aSTUNPacket) {
		if m, err := readSTUN(p.Payload); err == nil && m.class == stunRequest {
			came[m.id] = p.Src
		}
	}
	for _, p := range v.sent() {
		v.Saw("stun", 1)
		m, err := readSTUN(p.Payload)
		if err == nil {
			err = m.verify()
		}
		if err != nil {
			return v.Fail("a STUN message of %d bytes from %v to %v is not as the RFC has it: %v", len(p.Payload), p.Src, p.Dst, err), true
		}
		for _, a := range m.attrs {
			v.seen[a.kind]++
		}
		if m.has(attrIntegrity) || m.has(attrIntegrity256) {
			v.unverified++
		}
		whose, known := came[m.id]
		a, says := m.find(attrXorMapped)
		if m.class != stunSuccess || m.method != stunBinding || !known {
			continue
		}
		if !says {
			return v.Fail("it answered a binding request of %v without XOR-MAPPED-ADDRESS", whose), true
		}
		if at, _ := m.address(a); at != whose {
			return v.Fail("it answered a binding request of %v that it came from %v", whose, at), true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(v.seen)) {
		v.Note("attribute %#04x in %d messages", kind, v.seen[kind])
	}
	return r, false
}
