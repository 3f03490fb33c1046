package certify

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/topologies/document"
)

// Load reads a declaration from a file. Its faults are document.Errors, each with line and column.
func Load(file string) (*Declaration, error) {
	if !document.IsFile(file) {
		file = "./" + file
	}
	file, data, err := document.Read(embed.FS{}, "", "declaration", file)
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// Parse reads a declaration; the file's name is for its faults.
func Parse(file string, data []byte) (*Declaration, error) {
	doc, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	doc.Check(schema)
	d := decode(doc)
	d.check(doc)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	d.Text = string(data)
	d.Digest = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	return d, nil
}

func decode(doc *document.Document) *Declaration {
	root := doc.Root()
	device := root.Get("device")
	firmware := device.Get("firmware")
	d := &Declaration{
		Device: Device{
			Vendor: device.Get("vendor").String(), Model: device.Get("model").String(),
			Firmware: Firmware{Name: firmware.Get("name").String(), Version: firmware.Get("version").String(), SHA256: firmware.Get("sha256").String()},
		},
		Features: map[Feature]bool{},
	}
	for _, t := range Features() {
		d.Features[t.Feature] = root.Get("features").Get(string(t.Feature)).Bool(false)
	}
	b := root.Get("bounds")
	bound := func(name Bound) document.Node { return b.Get(string(name)) }
	d.Bounds = Bounds{
		Keepalive: bound(BoundKeepalive).Duration(), Idle: bound(BoundIdle).Bytes(),
		FirstFrame: bound(BoundFirstFrame).Duration(), RelayFrame: bound(BoundRelayFrame).Duration(),
		Ports: ports(bound(BoundPorts)), FrameOverhead: bound(BoundFrameOverhead).Probability(),
		Floor: bound(BoundFloor).Rate(), Bitrate: bound(BoundBitrate).Rate(), Recovery: bound(BoundRecovery).Duration(),
	}
	servers := root.Get("servers")
	for _, name := range servers.Keys() {
		d.Servers = append(d.Servers, Server{Name: name, Role: servers.Get(name).String()})
	}
	slices.SortFunc(d.Servers, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// ports reads a list of open ports, and reports numbers that are none and ports that are there twice.
func ports(list document.Node) []Port {
	var all []Port
	for _, item := range list.Items() {
		protocol, digits, ok := strings.Cut(item.String(), "/")
		if !ok {
			continue // the schema says so
		}
		number, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || number == 0 {
			item.Report(&lab.Problem{Msg: fmt.Sprintf("%s is no port: 1 to 65535", item.String())})
			continue
		}
		p := Port{protocol, uint16(number)}
		if slices.Contains(all, p) {
			item.Report(&lab.Problem{Msg: fmt.Sprintf("%s is declared twice", p)})
			continue
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Port) int {
		return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
	})
	return all
}

// String is: udp/5000.
func (p Port) String() string { return p.Protocol + "/" + strconv.Itoa(int(p.Number)) }

// check finds what contradicts itself.
func (d *Declaration) check(doc *document.Document) {
	features, bounds := doc.Root().Get("features"), doc.Root().Get("bounds")
	for _, t := range Features() {
		for _, need := range t.Needs {
			if d.Has(t.Feature) && !d.Has(need) {
				features.Get(string(t.Feature)).Report(problem("%s: true needs %s: true", t.Feature, need))
			}
		}
	}
	for _, l := range Limits() {
		d.checkLimit(l, bounds)
	}
	d.checkFigures(bounds)
	servers := doc.Root().Get("servers")
	for _, s := range d.Servers {
		if s.Role == "relay" && !d.Has(FeatureRelay) {
			servers.Get(s.Name).Report(problem("a relay is named, but the camera declares relay: false"))
		}
		if s.Role == "rendezvous" && !d.Has(FeatureRegistration) {
			servers.Get(s.Name).Report(problem("a server to register with is named, but the camera declares registration: false"))
		}
	}
}

// checkLimit holds a bound to the features it goes with.
func (d *Declaration) checkLimit(l Limit, bounds document.Node) {
	there := bounds.Get(string(l.Bound)).Exists()
	for _, need := range l.Needs {
		switch {
		case there && !d.Has(need):
			p := problem("a bound on what the camera does not do: it declares %s: false", need)
			p.Key = true
			bounds.Get(string(l.Bound)).Report(p)
			return
		case !there && d.Has(need):
			bounds.Report(problem("%s is missing: the camera declares %s: true", l.Bound, need))
			return
		}
	}
}

// checkFigures holds bounds to one another, and to what the cases can measure.
func (d *Declaration) checkFigures(bounds document.Node) {
	b := d.Bounds
	report := func(name Bound, format string, args ...any) {
		if bounds.Get(string(name)).Exists() {
			bounds.Get(string(name)).Report(problem(format, args...))
		}
	}
	for _, t := range []struct {
		name     Bound
		is, most time.Duration
	}{
		{BoundKeepalive, b.Keepalive, mostKeepalive}, {BoundFirstFrame, b.FirstFrame, mostFirstFrame},
		{BoundRelayFrame, b.RelayFrame, mostRelayFrame}, {BoundRecovery, b.Recovery, mostRecovery},
	} {
		if t.is <= 0 || t.is > t.most {
			report(t.name, "not a bound that says something: more than nothing, and at most %v", t.most)
		}
	}
	if b.Idle > mostIdle {
		report(BoundIdle, "%d bytes an hour are as much as a slow stream: %d at most", b.Idle, mostIdle)
	}
	if b.Floor < leastFloor {
		report(BoundFloor, "less than %d bit/s is no picture", leastFloor)
	}
	if b.Bitrate > mostBitrate {
		report(BoundBitrate, "more than the %d bit/s for which uplinks are made here", mostBitrate)
	}
	if len(b.Ports) > mostPorts {
		report(BoundPorts, "%d open ports: %d at most", len(b.Ports), mostPorts)
	}
	if b.Keepalive > 0 && b.Keepalive < MinKeepalive {
		report(BoundKeepalive, "%v is less than the %v that REG-5 asks for: the camera would fail by its own word", b.Keepalive, MinKeepalive)
	}
	if least := leastIdle(b.Keepalive); b.Idle < least {
		report(BoundIdle, "%d bytes an hour are less than the headers of its keepalives, one every %v: %d", b.Idle, b.Keepalive, least)
	}
	if b.RelayFrame > 0 && b.RelayFrame < b.FirstFrame {
		report(BoundRelayFrame, "%v is less than first-frame (%v): the way by a relay is not the shorter one", b.RelayFrame, b.FirstFrame)
	}
	if b.Floor > b.Bitrate {
		report(BoundFloor, "more than bitrate: the camera cannot go down to a rate that it never sends")
	}
	if b.FrameOverhead > 1 {
		report(BoundFrameOverhead, "more than 100%%: more would be spent on the frames than they are")
	}
}

// What a bound may be at most, or at least: beyond it no camera could fail the case that holds it to the bound, or the case would not end.
const (
	mostKeepalive  = 2 * time.Minute // a router may forget a UDP mapping then (RFC 4787 §4.3)
	mostFirstFrame = 15 * time.Second
	mostRelayFrame = 30 * time.Second
	mostRecovery   = time.Minute
	mostIdle       = 10_000_000 // 22 kbit/s
	leastFloor     = 50_000
	mostBitrate    = 20_000_000
	mostPorts      = 16
)

// leastIdle is the bytes of an hour's keepalives, if each is one datagram without a byte in it: IPv4 and UDP headers alone.
func leastIdle(keepalive time.Duration) int {
	if keepalive <= 0 {
		return 0
	}
	return int(time.Hour/keepalive) * (20 + 8)
}

// MinKeepalive is the least time between keepalives (RFC 8085 §3.5).
const MinKeepalive = 15 * time.Second

func problem(format string, args ...any) *lab.Problem {
	return &lab.Problem{Msg: fmt.Sprintf(format, args...)}
}
