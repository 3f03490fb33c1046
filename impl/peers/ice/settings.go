package ice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/webrtc/v4"
)

// Setting is one thing that differs from the library's defaults, and why.
type Setting struct {
	Name, Reason string
	apply        func(*webrtc.SettingEngine) error
}

// Settings is how both parties are set.
type Settings struct {
	Changes []Setting
	// Restart is the state of ICE at which the viewer starts it anew (RFC 8445 §2.4): "failed", which comes half a minute
	// after the path died, or "disconnected", after 5 s.
	Restart webrtc.ICEConnectionState
	// PlainSTUN asks the server by a stun: URL as well, as lists of servers commonly do; the turn: URL brings a reflexive
	// candidate all the same.
	PlainSTUN bool
	// MaxNACKs is how often a packet is asked for; 0: as long as the library remembers it.
	MaxNACKs uint16
}

func always(apply func(*webrtc.SettingEngine)) func(*webrtc.SettingEngine) error {
	return func(e *webrtc.SettingEngine) error { apply(e); return nil }
}

// noMDNS is set always.
var noMDNS = Setting{
	Name:   "no multicast DNS",
	Reason: "no candidate here is a .local name: the library would open port 5353 to ask for none",
	apply: always(func(e *webrtc.SettingEngine) {
		e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}),
}

// Default is the library as people deploy it: its defaults, and ICE restarted where the connection failed, as the examples
// of the WebRTC specification do (W3C WebRTC §4.4.3, restartIce).
func Default() Settings {
	return Settings{Changes: []Setting{noMDNS}, Restart: webrtc.ICEConnectionStateFailed, PlainSTUN: true}
}

// Tuned is the library with the best settings that are published for it. Without the stun: URL there is one reflexive
// candidate less on each side, which would be checked without being of use.
func Tuned() Settings {
	return Settings{Changes: tuned(), Restart: webrtc.ICEConnectionStateDisconnected}
}

const (
	tunedTick = 50 * time.Millisecond
	tunedDead = 5 * time.Second
)

func tuned() []Setting {
	return []Setting{noMDNS, {
		Name:   "no wait before a reflexive pair is nominated",
		Reason: "the defaults, 500 ms and 1 s, wait for a host pair that two homes never have",
		apply: always(func(e *webrtc.SettingEngine) {
			e.SetSrflxAcceptanceMinWait(0)
			e.SetPrflxAcceptanceMinWait(0)
		}),
	}, {
		Name: "relay after 500 ms",
		Reason: "the default is 2 s; with none at all a lost check leaves the media on the relay for good, for a pair is nominated " +
			"once. The library's renomination brings few back and quadruples what the viewer sends: it checks all pairs at each tick",
		apply: always(func(e *webrtc.SettingEngine) { e.SetRelayAcceptanceMinWait(500 * time.Millisecond) }),
	}, {
		Name: "checks each 50 ms",
		Reason: "RFC 8445 §14.2 has Ta = 50 ms, the library a tick of 200 ms that it does not let webrtc set: but its tick is never " +
			"longer than the time from disconnected to failed",
		apply: always(func(e *webrtc.SettingEngine) {
			e.SetICETimeouts(tunedDead, tunedTick, 2*time.Second)
		}),
	}, {
		Name:   "100 checks a pair",
		Reason: "the default of 7 would give a pair up after 350 ms at that tick",
		apply:  always(func(e *webrtc.SettingEngine) { e.SetICEMaxBindingRequests(100) }),
	}, {
		Name:   "DTLS flights repeated after 100 ms",
		Reason: "the default is the RFC's 1 s (RFC 6347 §4.2.4.1); LiveKit's media server has 100 ms",
		apply:  always(func(e *webrtc.SettingEngine) { e.SetDTLSRetransmissionInterval(100 * time.Millisecond) }),
	}, {
		Name:   "no DTLS cookie",
		Reason: "ICE has proved the address already, and a HelloVerifyRequest costs a round trip (RFC 5763 §5)",
		apply:  always(func(e *webrtc.SettingEngine) { e.SetDTLSInsecureSkipHelloVerify(true) }),
	}}
}

// absCaptureTime dates each frame, so that latencies can be told.
const absCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// party is what a camera and a viewer have in common: how their connections are made.
type party struct {
	api    *webrtc.API
	config webrtc.Configuration
}

func newParty(n *Net, s Settings, servers []netip.Addr) (*party, error) {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	video := webrtc.RTPCodecTypeVideo
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: absCaptureTime}, video); err != nil {
		return nil, fmt.Errorf("register header extension: %w", err)
	}
	r := &interceptor.Registry{}
	options := []webrtc.InterceptorOption{webrtc.WithInterceptorLoggerFactory(silence{})}
	if s.MaxNACKs > 0 {
		options = append(options, webrtc.WithNackGeneratorOptions(nack.GeneratorMaxNacksPerPacket(s.MaxNACKs)))
	}
	if err := webrtc.RegisterDefaultInterceptorsWithOptions(m, r, options...); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	e := webrtc.SettingEngine{LoggerFactory: silence{}}
	e.SetNet(n)
	for _, c := range s.Changes {
		if err := c.apply(&e); err != nil {
			return nil, fmt.Errorf("set %s: %w", c.Name, err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &party{
		api: webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(e)),
		config: webrtc.Configuration{
			Certificates: []webrtc.Certificate{*cert}, ICEServers: urls(servers, s.PlainSTUN),
		},
	}, nil
}

func (p *party) connection() (*webrtc.PeerConnection, error) {
	return p.api.NewPeerConnection(p.config)
}

// urls is what services hand out: STUN, TURN over UDP and TURN over TCP 443.
func urls(servers []netip.Addr, plain bool) (all []webrtc.ICEServer) {
	for _, a := range servers {
		stun, tcp := netip.AddrPortFrom(a, STUNPort), netip.AddrPortFrom(a, TCPPort)
		if plain {
			all = append(all, webrtc.ICEServer{URLs: []string{"stun:" + stun.String()}})
		}
		all = append(all, webrtc.ICEServer{
			URLs:     []string{"turn:" + stun.String() + "?transport=udp", "turn:" + tcp.String() + "?transport=tcp"},
			Username: Username, Credential: Password,
		})
	}
	return all
}
