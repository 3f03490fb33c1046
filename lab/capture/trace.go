package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/capture/tap"
)

// The kinds of interfaces: what fabric.Where says, and a monitor of a kernel's device.
const (
	uplink  = "uplink"
	station = "station"
	router  = "router"
	monitor = tap.Monitor
)

// The points of taps that the analysis needs: fabric.Point's words.
const (
	atSent      = "sent"
	atOutbound  = "outbound"
	atCore      = "core"
	atArrived   = "arrived"
	atInbound   = "inbound"
	atHairpin   = "hairpin"
	atDelivered = "delivered"
)

// Interface is where packets were seen.
type Interface struct {
	Kind string // "uplink", "station", "router", "monitor", or empty in a capture of another program
	Name string
}

// Packet is a packet at one interface.
type Packet struct {
	Info
	T         time.Duration // on the clock of who captured it
	Interface int           // index into Trace.Interfaces
	Dir       pcapng.Direction
	Data      []byte         // what was kept of it, from the IP header on
	Comment   pcapng.Comment // what the lab said about it; zero: nothing
}

// Trace is a capture.
type Trace struct {
	Origin     time.Duration // time since 1970 at which the capturing clock showed 0
	Interfaces []Interface
	Packets    []Packet // in the order of the file
}

// At is a time of day on the trace's clock.
func (t *Trace) At(clock time.Time) time.Duration { return time.Duration(clock.UnixNano()) - t.Origin }

// Open reads a capture from a file.
func Open(path string) (*Trace, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	t, err := Read(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("open capture %s: %w", path, err)
	}
	return t, nil
}

// Read reads a capture. A damaged one is refused with the offset of the damage. A comment that the lab's grammar does
// not allow is somebody's note and says nothing; any other file of pcapng.Reader's kind can be read, too.
func Read(r io.Reader) (*Trace, error) {
	f, err := pcapng.NewReader(r)
	if err != nil {
		return nil, err
	}
	t, d := &Trace{}, newDecoder()
	for {
		p, err := f.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(t.Packets) == 0 {
			t.Origin = f.Origin()
		}
		data := bytes.Clone(p.Data)
		t.Packets = append(t.Packets, Packet{
			Info: d.decode(data, p.Orig), T: p.Time - t.Origin, Interface: p.Interface, Dir: p.Dir, Data: data, Comment: comment(p.Comments),
		})
	}
	for _, i := range f.Interfaces() {
		t.Interfaces = append(t.Interfaces, interfaceOf(i.Name))
	}
	return t, nil
}

func comment(texts []string) pcapng.Comment {
	for _, s := range texts {
		if c, err := pcapng.ParseComment(s); err == nil {
			return c
		}
	}
	return pcapng.Comment{}
}

func interfaceOf(name string) Interface {
	kind, rest, ok := strings.Cut(name, " ")
	if ok {
		switch kind {
		case uplink, station, router, monitor:
			return Interface{Kind: kind, Name: rest}
		}
	}
	return Interface{Name: name}
}

func (i Interface) String() string {
	if i.Kind == "" {
		return i.Name
	}
	return i.Kind + " " + i.Name
}

// where is the packet's interface.
func (t *Trace) where(p *Packet) Interface { return t.Interfaces[p.Interface] }
