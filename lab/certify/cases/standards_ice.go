package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// What RFC 7675 §5.1 says of the time between two consent checks, and what is granted to a clock.
const (
	leastConsent   = 4 * time.Second
	consentJitter  = 0.2
	grantedConsent = 50 * time.Millisecond
)

// check is a binding request of the camera's to a viewer, as it first left: ICE's and consent's have a user name (RFC 8445 §7.2.2).
type check struct {
	at       time.Time
	src, dst netip.AddrPort
}

// checks are those that a camera has sent since a position of the tape, and how many of them it sent again. seen are the transactions of
// those before.
func checks(x *stage.Set, camera *stage.Camera, from int, seen map[[12]byte]bool) (all []check, again int) {
	servers := x.Servers(camera.Host())
	for _, p := range x.Tape().Packets(from, camera.Out(), aSTUNPacket, tape.Not(tape.To(servers...))) {
		m, err := readSTUN(p.Payload)
		switch {
		case err != nil || m.class != stunRequest || m.method != stunBinding || !m.has(attrUsername):
		case seen[m.id]:
			again++
		default:
			seen[m.id] = true
			all = append(all, check{p.At, p.Src, p.Dst})
		}
	}
	return all, again
}

// consentJittered is STD-2: the distances of a camera's consent checks on the path of its media.
func consentJittered(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	w, _, err := reach(ctx, x, stage.Viewing{Camera: camera}, "to watch for a while", time.Now(), s.Decl().Bounds.Recovery)
	if err != nil {
		return outcome(s, err)
	}
	err = s.Pause(ctx, s.For(10*time.Second, 2*time.Second)) // until its path is found: that has checks of its own
	const part = 20 * time.Second                            // of the media of more the tape would be full
	var all []check
	again, seen, media := 0, map[[12]byte]bool{}, map[consentFlow]bool{}
	from, began, watch := x.Tape().Mark(), time.Now(), s.For(8*time.Minute, 25*time.Second)
	for err == nil && time.Since(began) < watch {
		err = s.Pause(ctx, min(part, watch-time.Since(began)))
		upto := x.Tape().Mark()
		more, repeated := checks(x, camera, from, seen)
		all, again = append(all, more...), again+repeated
		for _, p := range x.Tape().Packets(from, camera.Out(), tape.Media) {
			media[consentFlow{p.Src, p.Dst}] = true
		}
		from = upto
		x.Tape().Forget(from)
	}
	if err := errors.Join(err, leave(s, w)); err != nil {
		return s.Judge(err)
	}
	if len(media) == 0 {
		return s.Inconclusive("no media left the camera while it was watched")
	}
	flows := byFlow(all, media)
	var distances []time.Duration
	for _, times := range flows {
		s.Saw("checks", len(times))
		distances = append(distances, spacing(times)...)
	}
	s.Note("%d checks on the way of the media, %d elsewhere, %d sent again; their distances: %v", s.Observed("checks"), len(all)-s.Observed("checks"), again, distances)
	s.Record(map[string]any{"checks": len(all), "again": again, "distances": distances})
	if len(distances) < 3 {
		return s.Inconclusive("%d consent checks left the camera while it was watched: their distances say nothing", s.Observed("checks"))
	}
	if wrong := jitter(distances); wrong != "" {
		return s.Fail("%s", wrong)
	}
	return s.Pass()
}

// consentFlow is a way that the camera sends by.
type consentFlow struct{ src, dst netip.AddrPort }

// byFlow are the times of checks on the flows that media goes by.
func byFlow(all []check, media map[consentFlow]bool) map[consentFlow][]time.Time {
	flows := map[consentFlow][]time.Time{}
	for _, c := range all {
		if f := (consentFlow{c.src, c.dst}); media[f] {
			flows[f] = append(flows[f], c.at)
		}
	}
	return flows
}

// spacing are the distances of times.
func spacing(times []time.Time) (ds []time.Duration) {
	for i := 1; i < len(times); i++ {
		ds = append(ds, times[i].Sub(times[i-1]))
	}
	return ds
}

// jitter says what is wrong with the distances of consent checks; "": nothing.
func jitter(distances []time.Duration) string {
	least, most := slices.Min(distances), slices.Max(distances)
	middle := (least + most) / 2
	low, high := time.Duration((1-consentJitter)*float64(middle)), time.Duration((1+consentJitter)*float64(middle))
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	switch {
	case least < leastConsent-grantedConsent:
		return fmt.Sprintf("two consent checks were %v apart, and %v are the least (%d distances, %v to %v)", ms(least), leastConsent, len(distances), ms(least), ms(most))
	case least < low-grantedConsent, most > high+grantedConsent:
		return fmt.Sprintf("consent checks were %v to %v apart: about their middle of %v, %v to %v are allowed (%d distances)",
			ms(least), ms(most), ms(middle), ms(low), ms(high), len(distances))
	case most-least < grantedConsent:
		return fmt.Sprintf("consent checks were all %v apart, within %v of each other (%d distances): they are not randomized", ms(middle), ms(most-least), len(distances))
	}
	return ""
}

// What RFC 8445 allows of connectivity checks, and what is granted to a clock.
const (
	mostPairs      = 100
	leastPace      = 5 * time.Millisecond
	grantedPace    = time.Millisecond
	moreCandidates = 200
)

// cappedAndPaced is STD-3: a viewer whose host has two hundred addresses more, which nobody reaches; and one that has none.
func cappedAndPaced(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	var wrong []string
	for _, more := range []int{moreCandidates, 0} {
		said, err := paced(ctx, x, camera, more)
		if err != nil {
			return outcome(s, err)
		}
		wrong = append(wrong, said...)
	}
	switch {
	case s.Observed("checks") == 0:
		return s.Inconclusive("the camera sent no connectivity check")
	case len(wrong) > 0:
		return s.Fail("%s", strings.Join(wrong, "; "))
	}
	return s.Pass()
}

// paced has a viewer ask whose host has more addresses, and says what of the camera's checks is wrong.
func paced(ctx context.Context, x *stage.Set, camera *stage.Camera, more int) (wrong []string, err error) {
	s := x.Stage()
	host := x.Host("viewer")
	if err := moreAddrs(host, more, (*netlink.Handle).AddrAdd); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, moreAddrs(host, more, (*netlink.Handle).AddrDel)) }()
	s.Note("the viewer's host has %d addresses more, at which nobody is reached", more)
	from := x.Tape().Mark()
	w, _, err := reach(ctx, x, stage.Viewing{Camera: camera}, fmt.Sprintf("with %d addresses more", more), time.Now(), s.Decl().Bounds.Recovery)
	if err != nil {
		return nil, err
	}
	err = s.Pause(ctx, s.For(40*time.Second, 5*time.Second)) // ICE gives up a check after 39.5 s (RFC 8489 §6.2.1)
	all, again := checks(x, camera, from, map[[12]byte]bool{})
	if err := errors.Join(err, leave(s, w)); err != nil {
		return nil, err
	}
	s.Saw("checks", len(all))
	pairs := map[[2]netip.AddrPort]bool{}
	var times []time.Time
	for _, c := range all {
		pairs[[2]netip.AddrPort{c.src, c.dst}] = true
		times = append(times, c.at)
	}
	least, at := time.Duration(-1), 0
	close := 0
	for i, d := range spacing(times) {
		if least < 0 || d < least {
			least, at = d, i+2
		}
		if d < leastPace-grantedPace {
			close++
		}
	}
	s.Note("%d checks of %d pairs, %d sent again; the closest two are %v apart", len(all), len(pairs), again, least)
	s.Record(map[string]any{"more addresses": more, "checks": len(all), "pairs": len(pairs), "again": again, "closest s": least.Seconds(), "too close": close})
	if len(pairs) > mostPairs {
		wrong = append(wrong, fmt.Sprintf("with %d addresses more at the viewer it tried %d pairs, and %d may be", more, len(pairs), mostPairs))
	}
	if close > 0 {
		wrong = append(wrong, fmt.Sprintf("with %d addresses more at the viewer %d of %d checks came less than %v after the one before: number %d after %v",
			more, close, len(all), leastPace, at, least))
	}
	return wrong, nil
}

// moreAddrs does something with n addresses of a host's interface, which nobody else knows the way to (RFC 2544).
func moreAddrs(m *lab.Machine, n int, do func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
	if n == 0 {
		return nil
	}
	return m.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		link, err := linkOf(nl, m.Addr())
		if err != nil {
			return err
		}
		at := netip.MustParseAddr("198.19.7.1")
		for range n {
			a, err := netlink.ParseAddr(netip.PrefixFrom(at, at.BitLen()).String())
			if err == nil {
				err = do(nl, link, a)
			}
			if err != nil {
				return fmt.Errorf("address %v of host %s: %w", at, m.Name, err)
			}
			at = at.Next()
		}
		return nil
	})
}

// linkOf is the interface that has an address.
func linkOf(nl *netlink.Handle, at netip.Addr) (netlink.Link, error) {
	links, err := nl.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		addrs, err := nl.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == at {
				return l, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has %v", at)
}
