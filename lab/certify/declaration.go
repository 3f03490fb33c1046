package certify

import (
	_ "embed"
	"slices"
	"time"

	"github.com/punchlab/punchlab/topologies/document"
)

// Declaration is what a vendor says of a camera before it is tried.
type Declaration struct {
	Device   Device
	Features map[Feature]bool // each of Features()
	Bounds   Bounds
	Servers  []Server // names of the vendor's servers that the lab answers, sorted by name
	Digest   string   // "sha256:…" of the file's bytes
	Text     string   // the file
}

// Has reports whether the camera has a feature.
func (d *Declaration) Has(f Feature) bool { return d.Features[f] }

// Device is the camera.
type Device struct {
	Vendor, Model string
	Firmware      Firmware
}

// Firmware is what is certified: a certificate's subject.
type Firmware struct {
	Name    string // of the image: acme-cam1-4.2.bin
	Version string
	SHA256  string // 64 hexadecimal digits, small letters
}

// Bounds are the figures that the camera keeps. What the declaration leaves out because the camera lacks the feature is zero.
type Bounds struct {
	Keepalive     time.Duration
	Idle          int // bytes an hour
	FirstFrame    time.Duration
	RelayFrame    time.Duration
	Ports         []Port // sorted
	FrameOverhead float64
	Floor         int64 // bits a second
	Bitrate       int64 // bits a second
	Recovery      time.Duration
}

// Port is an open port.
type Port struct {
	Protocol string // udp or tcp
	Number   uint16
}

// Server is a name that a camera asks for, and what stands behind it in the lab.
type Server struct {
	Name string
	Role string // rendezvous, relay, stun, ntp or update
}

//go:embed declaration.schema.json
var schemaText []byte

var schema = document.MustCompile(schemaText)

// Schema returns the JSON Schema of declarations.
func Schema() []byte { return slices.Clone(schemaText) }
