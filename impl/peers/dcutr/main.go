// Command dcutr is a camera, a viewer and a relay on go-libp2p: the comparator that upgrades a relayed connection to a direct
// one by DCUtR (Direct Connection Upgrade through Relay). It is a Go module of its own, so that go-libp2p's many modules
// stay out of the project's; "make peers" builds it into bin/dcutr, and lab/stack/external/dcutr.yaml runs it in the lab.
//
//	viewer                          relay                         camera
//	  │                               │◄── reserve (circuit v2) ─────│  ready
//	  │──── connect through relay ───►│─────── stop ────────────────►│
//	  │◄═══════ Noise, yamux, video by the relay ═══════════════════►│  connected, first-packet, first-frame
//	  │◄──────── CONNECT ─ CONNECT ─ SYNC (/libp2p/dcutr) ───────────│
//	  │◄─────────── both dial at once: QUIC, TCP ───────────────────►│
//	  │◄═══════ video goes on from the next frame ══════════════════►│  path to=direct
//
// It streams the frames of an H.264 file at their times; the viewer has the same file and compares each frame. The video
// starts by the relay at once and moves to the direct connection when there is one, which is the most an application
// can make of DCUtR. Everything else is the library's default, but for three things that a lab needs: the relay limits neither
// bytes nor time (by default it ends a connection after 128 KiB or two minutes), addresses for documentation (RFC 5737,
// RFC 3849, RFC 2544) count as public, and keys come from a seed.
//
// What happens is said on stdout, a line each: "at=UNIX-SECONDS event=NAME key=value …". The viewer asks for the camera when it
// reads a line on stdin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	seed  uint64
	relay []netip.Addr
	port  uint
	clip  string
	media time.Duration
}

const usage = "dcutr relay|camera|viewer [flags]: see dcutr ROLE -h"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dcutr:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	roles := map[string]func(context.Context, config) error{"relay": runRelay, "camera": runCamera, "viewer": runViewer}
	role, ok := roles[args[0]]
	if !ok {
		return errors.New(usage)
	}
	c, err := parse(args[0], args[1:])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := role(ctx, c); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func parse(role string, args []string) (c config, err error) {
	f := flag.NewFlagSet("dcutr "+role, flag.ContinueOnError)
	f.Uint64Var(&c.seed, "seed", 1, "keys of all three come from this number")
	f.UintVar(&c.port, "port", 4001, "UDP and TCP `port` of the relay")
	f.StringVar(&c.clip, "clip", "", "H.264 `file` (Annex B, one slice a picture), camera and viewer; none: one small frame")
	f.DurationVar(&c.media, "media", 0, "video to stream, viewer; 0: one small frame")
	relay := f.String("relay", os.Getenv("PUNCHLAB_RENDEZVOUS"), "`addresses` of the relay, with commas between them")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	for s := range strings.SplitSeq(*relay, ",") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return c, fmt.Errorf("relay %q: write IP addresses, with commas between them", s)
		}
		c.relay = append(c.relay, a)
	}
	if c.port == 0 || c.port > 65535 {
		return c, fmt.Errorf("port %d is impossible: give 1 to 65535", c.port)
	}
	if c.media > 0 && c.clip == "" {
		return c, errors.New("-media needs a -clip to stream")
	}
	return c, nil
}

// say prints what happened.
func say(event string, pairs ...any) { sayAt(time.Now(), event, pairs...) }

// sayAt prints what happened at another time than now.
func sayAt(at time.Time, event string, pairs ...any) {
	var b strings.Builder
	fmt.Fprintf(&b, "at=%.6f event=%s", float64(at.UnixMicro())/1e6, event)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%v", pairs[i], pairs[i+1])
	}
	b.WriteByte('\n')
	_, _ = os.Stdout.WriteString(b.String())
}
