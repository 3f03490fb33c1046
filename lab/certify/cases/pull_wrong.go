package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
)

// strangers are viewers elsewhere with wrong tickets. They have the time that the right one needed, and more: where all is slow, they are
// not let off by that.
func (c *claimants) strangers(ctx context.Context) error {
	wrong, err := c.wrongTickets(c.s.N(100, 8))
	if err != nil {
		return err
	}
	c.s.Note("%d viewers with wrong tickets ask, %d at once", len(wrong), together)
	for len(wrong) > 0 && c.caught == "" {
		some := wrong[:min(together, len(wrong))]
		wrong = wrong[len(some):]
		from := c.x.Tape().Mark()
		results, errs := make([]visited, len(some)), make([]error, len(some))
		var asking sync.WaitGroup
		for i, t := range some {
			asking.Go(func() {
				results[i], errs[i] = visit{
					Ticket: t.ticket, Host: strangerHost, Unit: 100 + len(wrong) + i, Within: c.s.For(5*time.Second, 2*time.Second) + together*c.served,
				}.make(ctx, c.x)
			})
		}
		asking.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		asked := 0 // who has not, as the ticket made no sense to it, has tried nothing
		for i, r := range results {
			if r.Asked {
				asked++
			}
			c.s.Record(map[string]any{"viewer": some[i].what, "asked": r.Asked, "ended with code": r.Code, "frames": r.Frames})
			if r.Reached && c.caught == "" {
				c.caught = fmt.Sprintf("a viewer %s was served: of the camera's frames %d came to it", some[i].what, r.Frames)
			}
		}
		c.given(from, asked, "viewers "+some[0].what+" or with other wrong tickets")
	}
	return nil
}

// wrongTicket is one that gives no right to watch.
type wrongTicket struct {
	what   string
	ticket []byte
}

// wrongTickets are n tickets: of the bundled protocol, labels with another secret; of others, with a third of the letters and digits
// changed. Where the ticket says no more than where the camera is, it is no credential, and is wrong as it is.
func (c *claimants) wrongTickets(n int) (wrong []wrongTicket, err error) {
	ticket, err := c.camera.Ticket()
	if err != nil {
		return nil, err
	}
	if bare(ticket) {
		wrong = append(wrong, wrongTicket{"without credentials, who knew where the camera is and no more,", ticket})
	}
	for i := len(wrong); i < n; i++ {
		if l, ok := labelOf(ticket); ok {
			wrong = append(wrong, c.wrongLabel(l, i))
			continue
		}
		wrong = append(wrong, wrongTicket{fmt.Sprintf("with a ticket whose third %d was made up", i%3+1), c.madeUp(ticket, i%3)})
	}
	return wrong, nil
}

// bare reports whether a ticket has nothing but addresses.
func bare(ticket []byte) bool {
	words := strings.Fields(string(ticket))
	for _, w := range words {
		if _, err := netip.ParseAddrPort(w); err != nil {
			return false
		}
	}
	return true
}

// wrongLabel is a label that does not hold the camera's secret.
func (c *claimants) wrongLabel(l ids.Label, i int) wrongTicket {
	what := "with a secret that was made up"
	made := ids.Secret{}
	for j := range made {
		made[j] = byte(c.draw.Uint32())
	}
	other, ok := labelOf(c.other)
	switch {
	case i%4 == 0:
		what, made = "with no secret", ids.Secret{}
	case i%4 == 1 && ok:
		what, made = "with another camera's secret", other.Secret
	case i%4 == 2:
		what, made = "with a secret of which one bit is wrong", l.Secret
		made[c.draw.IntN(len(made))] ^= 1 << c.draw.IntN(8)
	}
	l.Secret = made
	return wrongTicket{what, []byte(l.String())}
}

// madeUp is a ticket one third of whose letters and digits are others.
func (c *claimants) madeUp(ticket []byte, third int) []byte {
	b := []byte(string(ticket))
	for i := third * len(b) / 3; i < (third+1)*len(b)/3; i++ {
		switch ch := b[i]; {
		case ch >= '0' && ch <= '9':
			b[i] = '0' + byte((int(ch-'0')+1+c.draw.IntN(9))%10)
		case ch >= 'a' && ch <= 'z':
			b[i] = 'a' + byte((int(ch-'a')+1+c.draw.IntN(25))%26)
		case ch >= 'A' && ch <= 'Z':
			b[i] = 'A' + byte((int(ch-'A')+1+c.draw.IntN(25))%26)
		}
	}
	return b
}
