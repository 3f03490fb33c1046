package stage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// This file is a vendor's adapter of the smallest sort: cameras register with a rendezvous by plain UDP, viewers ask it for them, and
// frames follow in clear.
//
//	camera ── R ticket ──► rendezvous ── r ──► camera           registered
//	viewer ── A ticket ──► rendezvous ── P address ──► both     then each sends the other something: h
//	                                  ── N ──► viewer           nobody has that ticket
//	camera ── F n chunk chunks bytes ──► viewer                 once it has heard the viewer, whose router lets it in by then

func TestMain(m *testing.M) {
	contain.Main()
	live.Main()
	if len(os.Args) > 1 && os.Args[1] == "fake" {
		f := fake{vices: strings.Fields(os.Getenv("FAKE")), bundled: len(os.Args) > 2}
		f.act()
	}
	if len(os.Args) > 1 && os.Args[1] == "adapter" {
		adapter.Main()
	}
	netnstest.Main(m)
}

// fake is one life of the adapter.
type fake struct {
	vices   []string // of the variable FAKE: what it does wrong, if it is the vendor's
	bundled bool
	c       *net.UDPConn
	server  netip.AddrPort
}

func env(name string) string { return os.Getenv("PUNCHLAB_" + name) }

func (f *fake) has(vice string) bool { return !f.bundled && slices.Contains(f.vices, vice) }

func (f *fake) act() {
	role, action := env("ROLE"), env("ACTION")
	if f.has("no-"+role) || f.has("no-"+action) {
		os.Exit(127)
	}
	fmt.Println("a", role, "for", action, "of unit", env("UNIT"))
	if f.has("crash-" + role) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	if f.has("deaf") && role == "camera" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		go func() { <-term; os.Exit(0) }()
	}
	addrs, err := net.LookupHost("p2p.acme.example") // which the declaration names
	must(err)
	f.server = netip.AddrPortFrom(netip.MustParseAddr(addrs[0]), 9000)
	switch {
	case action == "transfer":
		write("ticket", []byte("second owner"))
	case action != "run":
		os.Exit(1)
	case role == "camera":
		f.camera()
	case role == "viewer":
		f.viewer()
	case role == "rendezvous":
		f.rendezvous()
	default:
		write("ready", nil)
		select {}
	}
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// write writes a result, whole before it has its name.
func write(name string, b []byte) {
	path := filepath.Join(env("RESULT"), name)
	must(os.WriteFile(path+".new", b, 0o644))
	must(os.Rename(path+".new", path))
}

// line appends a frame to frames.jsonl.
func line(out *os.File, n int, frame []byte) {
	sum := sha256.Sum256(frame)
	b, err := json.Marshal(map[string]any{
		"n": n, "t": float64(time.Now().UnixMicro()) / 1e6, "size": len(frame), "sha256": hex.EncodeToString(sum[:]),
	})
	must(err)
	_, err = out.Write(append(b, '\n'))
	must(err)
}

func (f *fake) listen(port int) {
	var err error
	f.c, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port})
	must(err)
}

func (f *fake) read() (string, netip.AddrPort) {
	var b [2000]byte
	n, from, err := f.c.ReadFromUDPAddrPort(b[:])
	must(err)
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (f *fake) send(to netip.AddrPort, message string) {
	_, _ = f.c.WriteToUDPAddrPort([]byte(message), to)
}

func (f *fake) rendezvous() {
	f.listen(9000)
	write("ready", nil)
	cameras := map[string]netip.AddrPort{}
	for {
		m, from := f.read()
		switch camera := cameras[m[1:]]; {
		case m[0] == 'R':
			cameras[m[1:]] = from
			f.send(from, "r")
		case m[0] == 'A' && camera.IsValid():
			f.send(from, "P"+camera.String())
			f.send(camera, "P"+from.String())
		case m[0] == 'A':
			f.send(from, "N")
		}
	}
}

// ticket is made once, and kept in the state.
func (f *fake) ticket() string {
	path := filepath.Join(env("STATE"), "key")
	b, err := os.ReadFile(path)
	if err != nil {
		b = fmt.Appendf(nil, "ticket-%s-%x", env("UNIT"), time.Now().UnixNano())
		must(os.WriteFile(path, b, 0o644))
	}
	return string(b)
}

func (f *fake) camera() {
	f.listen(5000)
	ticket := f.ticket()
	write("ticket", []byte(ticket))
	write("identity.json", []byte(`{"uid": "`+ticket+`", "serial": "7"}`))
	if f.has("hide") {
		select {}
	}
	out, err := os.Create(filepath.Join(env("RESULT"), "frames.jsonl"))
	must(err)
	source, err := os.ReadFile(env("SOURCE"))
	must(err)
	clip, err := media.ParseAnnexB(source, 30)
	must(err)
	go func() {
		for ; ; time.Sleep(200 * time.Millisecond) {
			f.send(f.server, "R"+ticket)
		}
	}()
	if f.has("memory") {
		held = bytes.Repeat([]byte("x"), 64<<20)
	}
	peers := map[netip.AddrPort]bool{}
	for {
		m, from := f.read()
		switch {
		case m == "r":
			write("ready", nil)
			if f.has("flood") {
				go f.flood()
			}
		case m[0] == 'P':
			f.send(netip.MustParseAddrPort(m[1:]), "hello")
		case m[0] == 'h' && !peers[from]:
			peers[from] = true
			go f.stream(out, clip, from)
		}
		if f.has("crash-late") && m[0] == 'P' {
			panic("a viewer came")
		}
		if f.has("unsupported-late") && m[0] == 'P' {
			os.Exit(127)
		}
	}
}

// held is what a camera keeps: the collector would free what nobody has, and the kernel get it back.
var held []byte

// flood sends as fast as it can.
func (f *fake) flood() {
	junk := strings.Repeat("X", 1400)
	for {
		f.send(f.server, junk)
	}
}

const chunk = 1000

// stream sends the frames.
func (f *fake) stream(out *os.File, clip *media.Clip, to netip.AddrPort) {
	for n := 1; ; n++ {
		frame := clip.AccessUnits[(n-1)%len(clip.AccessUnits)].Data
		if f.has("damage") {
			frame = append(frame[:len(frame)-1:len(frame)-1], frame[len(frame)-1]^1)
		}
		line(out, n, frame) // before: who has seen the frame finds it here
		pieces := slices.Collect(slices.Chunk(frame, chunk))
		for i, piece := range pieces {
			h := binary.BigEndian.AppendUint32([]byte("F"), uint32(n))
			h = append(h, byte(i), byte(len(pieces)))
			f.send(to, string(h)+string(piece))
		}
		time.Sleep(time.Second / 30)
	}
}

// lie has a viewer say that it got what it never asked for: the clip that everybody knows, or what lies about on the machine.
func (f *fake) lie() {
	var source []byte
	switch {
	case f.has("peek"):
		found, _ := filepath.Glob(filepath.Join(env("RESULT"), "../../source.h264"))
		others, _ := filepath.Glob(filepath.Join(env("RESULT"), "../../camera-*/*"))
		if fmt.Println("found", found, others); len(found) == 0 {
			os.Exit(1)
		}
		source, _ = os.ReadFile(found[0])
	case f.has("air"):
		for _, u := range media.EmbeddedClip().AccessUnits {
			source = append(source, u.Data...)
		}
	default:
		return
	}
	out, err := os.Create(filepath.Join(env("RESULT"), "frames.jsonl"))
	must(err)
	clip, err := media.ParseAnnexB(source, 30)
	must(err)
	for i, u := range clip.AccessUnits {
		line(out, i+1, u.Data)
	}
	os.Exit(0)
}

func (f *fake) viewer() {
	f.listen(0)
	ticket, err := os.ReadFile(env("TICKET"))
	must(err)
	seconds, err := time.ParseDuration(env("MEDIA") + "s")
	must(err)
	f.lie()
	out, err := os.Create(filepath.Join(env("RESULT"), "frames.jsonl"))
	must(err)
	must(f.c.SetReadDeadline(time.Now().Add(20 * time.Second)))
	f.send(f.server, "A"+string(ticket))
	type picture struct {
		pieces [256]string
		have   int
	}
	pictures := map[uint32]*picture{}
	heard := make(chan struct{})
	hear := sync.OnceFunc(func() { close(heard) })
	for first := true; ; {
		m, from := f.read()
		switch m[0] {
		case 'P':
			go f.knock(netip.MustParseAddrPort(m[1:]), heard)
		case 'N':
			os.Exit(1)
		}
		if m[0] != 'F' || from == f.server {
			continue
		}
		hear()
		n, i, all := binary.BigEndian.Uint32([]byte(m[1:5])), m[5], int(m[6])
		p := pictures[n]
		if p == nil {
			p = &picture{}
			pictures[n] = p
		}
		p.pieces[i] = m[7:]
		if p.have++; p.have == all {
			line(out, int(n), []byte(strings.Join(p.pieces[:all], "")))
			if first {
				first = false
				time.AfterFunc(seconds, func() { os.Exit(0) })
				must(f.c.SetReadDeadline(time.Time{}))
			}
		}
	}
}

// knock asks a camera for its frames until it is heard: the first ones come before the camera's router lets them in, maybe.
func (f *fake) knock(camera netip.AddrPort, heard <-chan struct{}) {
	for {
		f.send(camera, "hello")
		select {
		case <-heard:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
