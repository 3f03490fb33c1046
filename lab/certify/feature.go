package certify

// Feature is something that a camera may have: an entry of the declaration's features (the implementation conformance statement,
// ICS). A camera that has it is held to the conditional cases that need it.
type Feature string

// Features.
const (
	FeatureIdentifier    Feature = "identifier"
	FeatureRegistration  Feature = "registration"
	FeatureRelay         Feature = "relay"
	FeatureIPv6          Feature = "ipv6"
	FeatureTCPFallback   Feature = "tcp-fallback"
	FeaturePassword      Feature = "password"
	FeatureOwner         Feature = "owner"
	FeaturePrivacy       Feature = "privacy"
	FeatureConfiguration Feature = "configuration"
	FeatureUpdate        Feature = "update"
	FeatureSTUN          Feature = "stun"
	FeatureConsent       Feature = "consent"
	FeatureICE           Feature = "ice"
)

// Trait describes a feature.
type Trait struct {
	Feature Feature
	What    string    // the question that the declaration answers
	Needs   []Feature // those that it cannot be without
}

// Features are all that a declaration answers, in its order.
func Features() []Trait {
	return []Trait{
		{FeatureIdentifier, "viewers ask for the camera by an identifier (UID, serial number, cloud id)", nil},
		{FeatureRegistration, "the camera registers with a server, so that viewers find it", []Feature{FeatureIdentifier}},
		{FeatureRelay, "media may go by way of a relay when there is no direct path", nil},
		{FeatureIPv6, "camera and viewer work where there is IPv6 alone", nil},
		{FeatureTCPFallback, "camera or viewer fall back on TCP 443 where UDP is blocked", nil},
		{FeaturePassword, "people or machines prove themselves to the camera by a password or PIN", nil},
		{FeatureOwner, "the camera has an owner, whom a reset or transfer changes", nil},
		{FeaturePrivacy, "the camera has a mode in which it gives no media", nil},
		{FeatureConfiguration, "the camera can be configured over the network", nil},
		{FeatureUpdate, "the camera's firmware can be updated", nil},
		{FeatureSTUN, "the camera speaks STUN (RFC 8489)", nil},
		{FeatureConsent, "the camera keeps consent fresh by STUN (RFC 7675)", []Feature{FeatureSTUN}},
		{FeatureICE, "the camera finds its path by ICE (RFC 8445)", []Feature{FeatureSTUN}},
	}
}

// Bound is a figure that a camera keeps: an entry of the declaration's bounds (implementation extra information for testing,
// IXIT).
type Bound string

// Bounds.
const (
	BoundKeepalive     Bound = "keepalive"
	BoundIdle          Bound = "idle"
	BoundFirstFrame    Bound = "first-frame"
	BoundRelayFrame    Bound = "relay-frame"
	BoundPorts         Bound = "ports"
	BoundFrameOverhead Bound = "frame-overhead"
	BoundFloor         Bound = "floor"
	BoundBitrate       Bound = "bitrate"
	BoundRecovery      Bound = "recovery"
)

// Limit describes a bound.
type Limit struct {
	Bound Bound
	What  string
	Needs []Feature // without which it makes no sense; with all of which it is needed
}

// Limits are all bounds of a declaration, in its order. One whose features the camera has must be there, and any other must not.
func Limits() []Limit {
	return []Limit{
		{BoundKeepalive, "time between two keepalives of an idle camera: 25s", []Feature{FeatureRegistration}},
		{BoundIdle, "bytes that an idle camera sends in an hour, IP headers counted: 60kB", nil},
		{BoundFirstFrame, "time from the viewer's request to the first whole frame, by a direct path: 2s", nil},
		{BoundRelayFrame, "the same by way of a relay: 4s", []Feature{FeatureRelay}},
		{BoundPorts, "ports that answer, or take connections, on the camera's address: [udp/5000, tcp/443], or []", nil},
		{BoundFrameOverhead, "bytes sent beyond those of the frames, as a share of them: 15%", nil},
		{BoundFloor, "rate of media that the camera goes down to on a bad path, and no further: 200kbit", nil},
		{BoundBitrate, "rate of media that the camera sends at most: 2mbit", nil},
		{BoundRecovery, "time until media flows again after a path was lost or the power came back: 10s", nil},
	}
}
