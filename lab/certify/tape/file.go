package tape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/capture/pcapng"
)

// Read reads a capture that the lab wrote: those packets of its hosts that match all, by their times, as a Tape would have them. host says
// which host is at an interface, and false where it is none; Hosts makes one. An error names the file and what is wrong with it.
func Read(path string, host func(capture.Interface) (string, bool), match ...Match) ([]Packet, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	defer f.Close()
	ps, err := readAll(f, host, match)
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", path, err)
	}
	return ps, nil
}

func readAll(f io.Reader, host func(capture.Interface) (string, bool), match []Match) (ps []Packet, err error) {
	r, err := pcapng.NewReader(f)
	if err != nil {
		return nil, err
	}
	var places []*place
	var room block
	for {
		c, err := r.Next()
		if errors.Is(err, io.EOF) {
			return byTime(ps), nil
		}
		if err != nil {
			return nil, err
		}
		for _, i := range r.Interfaces()[len(places):] {
			places = append(places, placeOf(i.Name, host))
		}
		p, ok := places[c.Interface].packet(&c)
		if !ok || !all(&p, match) {
			continue
		}
		p.Payload = room.keep(p.Payload)
		ps = append(ps, p)
	}
}

// place is a capture's interface; its host is empty where there is none.
type place struct {
	host    string
	decoder decoder
}

func placeOf(name string, host func(capture.Interface) (string, bool)) *place {
	i := capture.Interface{Name: name}
	if kind, rest, ok := strings.Cut(name, " "); ok {
		i = capture.Interface{Kind: kind, Name: rest}
	}
	h, ok := host(i)
	if !ok {
		h = ""
	}
	return &place{host: h}
}

// packet is what the host at the interface had of it: what it sent, whatever became of that, and what was given to it.
func (e *place) packet(c *pcapng.Packet) (p Packet, ok bool) {
	if e.host == "" {
		return p, false
	}
	said, err := comment(c.Comments)
	sent := said.At == "" || said.At == "sent"
	came := said.At == "" || said.At == "delivered" && said.Drop == ""
	if err != nil || c.Dir == pcapng.Outbound && !sent || c.Dir != pcapng.Outbound && !came {
		return p, false
	}
	p, ok = e.decoder.decode(c.Data, c.Dir == pcapng.Outbound)
	p.At, p.Host = time.Unix(0, int64(c.Time)), e.host
	return p, ok
}

func comment(texts []string) (c pcapng.Comment, err error) {
	if len(texts) == 0 {
		return c, nil
	}
	return pcapng.ParseComment(texts[0])
}

// Hosts says which host of a topology is at an interface of a capture. boxes gives the names under which outlets were watched, by
// Outlet.Name.
func Hosts(t *lab.Topology, boxes map[string]string) func(capture.Interface) (string, bool) {
	public := map[string]bool{}
	for _, p := range t.Public {
		public[p.Name] = true
	}
	return func(i capture.Interface) (string, bool) {
		if host := boxes[i.Name]; host != "" {
			return host, true
		}
		switch site, host, _ := strings.Cut(i.Name, "/"); i.Kind {
		case "uplink":
			return i.Name, public[i.Name]
		case "station", "monitor": // of a host, or of a router behind another one
			s := t.Site(site)
			there := s != nil && slices.ContainsFunc(s.Hosts, func(h lab.Host) bool { return h.Name == host })
			return host, there
		}
		return "", false
	}
}
