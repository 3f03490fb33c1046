package cases

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// misled are viewers who know a camera by its address alone, and have been led to another's: the name that stands for the address was
// answered falsely, or the address is somebody else's by now.
type misled struct {
	*luring
	at, decoy netip.AddrPort // where the camera is, and where the viewers are led

	mu      sync.Mutex
	schemes []string       // by which the impostor asks for a login, in turn; the last one stays
	request attack.Login   // the last one, but for OPTIONS
	visits  int            // in which something was asked for
	came    bool           // in this one
	logins  []attack.Login // that he was told
}

// byFalseAddress is SEC-3 of a camera whose ticket is an address: viewers come to an impostor's, who asks for a login by each of the schemes that
// cameras use, and a second attacker says to the camera what the impostor was told.
func (l *luring) byFalseAddress(ctx context.Context) (certify.Result, bool) {
	s := l.s
	words := strings.Fields(string(l.ticket))
	if len(words) == 0 || !bare(l.ticket) {
		return certify.Result{}, false
	}
	m := &misled{luring: l, at: netip.MustParseAddrPort(words[0])}
	if err := l.own(ctx, "viewer"); err != nil {
		return s.Judge(fmt.Errorf("before the impostor came: %w", err)), true
	}
	if err := m.lead(ctx, s.N(60, len(lures))); err != nil {
		return s.Judge(err), true
	}
	if m.request.Method == "" {
		s.Note("viewers asked the impostor for nothing that is RTSP or HTTP: what they are asked for there was not found out")
		return certify.Result{}, false
	}
	first, err := m.ask(ctx, m.honest(m.request.URI), "")
	if err != nil {
		return s.Judge(err), true
	}
	code := first.code
	s.Note("without a login the camera answers %s with %d", m.request.Method, code)
	switch {
	case code == 0:
		return s.Inconclusive("the camera at %v does not answer a second attacker's %s: he could not log in by whatever was captured", m.at, m.request.Method), true
	case code/100 == 2:
		return s.Inconclusive("viewers told the impostor no password in %d visits, and none is needed: without one the camera answered %s with %d; what is "+
			"not asked for cannot be captured, and that it is not asked for is what ID-4 and BW-4 judge", m.visits, m.request.Method, code), true
	}
	return m.reuse(ctx)
}

// lead has viewers come to the impostor, n times.
func (m *misled) lead(ctx context.Context, n int) error {
	s, x := m.s, m.x
	within, cancel := context.WithCancel(ctx)
	ready := make(chan netip.AddrPort, 1)
	d := &attack.Decoy{
		At: netip.AddrPortFrom(netip.Addr{}, m.at.Port()), Ready: func(at netip.AddrPort) { ready <- at }, Seed: s.Seed(40),
		Ask: m.next, Came: m.saw, Heard: m.heard,
	}
	var running sync.WaitGroup
	var report attack.Report
	var failed error
	running.Go(func() {
		report, failed = d.Run(within, x.Host(farHost), attack.Budget{Packets: 10000, Duration: attack.MaxDuration})
		cancel()
	})
	defer running.Wait()
	defer cancel()
	select {
	case m.decoy = <-ready:
	case <-within.Done():
		running.Wait()
		return errors.Join(failed, ctx.Err())
	}
	s.Note("an impostor listens at %v; viewers are led there, as if the name of the camera's address had been answered falsely", m.decoy)
	for i := range n {
		if err := m.visit(within, slices.Clone(lures[i%len(lures)])); err != nil {
			return err
		}
	}
	cancel()
	running.Wait()
	s.Saw("lured", m.visits)
	s.Note("%d of %d viewers spoke to the impostor, and told him %d logins: %v", m.visits, n, len(m.logins), counted(report.Counts))
	s.Record(map[string]any{"led by": "a false address", "viewers": n, "lured": m.visits, "logins": len(m.logins)})
	return failed
}

// lures are how the impostor asks for logins: by what tells most, by what viewers trust, and by that until they have begun to.
var lures = [][]string{{attack.AskBasic}, {attack.AskDigest}, {attack.AskDigest, attack.AskBasic}}

// next is the scheme by which the impostor asks.
func (m *misled) next() (scheme string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if scheme = m.schemes[0]; len(m.schemes) > 1 {
		m.schemes = m.schemes[1:]
	}
	return scheme
}

// visit has a viewer come, who is asked for a login by schemes. It ends by itself, or is ended.
func (m *misled) visit(ctx context.Context, schemes []string) error {
	m.mu.Lock()
	m.schemes, m.came = schemes, false
	m.mu.Unlock()
	ticket := bytes.ReplaceAll(m.ticket, []byte(m.at.String()), []byte(m.decoy.String()))
	v, err := m.x.View(ctx, stage.Viewing{Ticket: ticket, Unit: ownerUnit, For: time.Second})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var late *stage.Timeout
	if _, err := v.Wait(short); errors.As(err, &late) && ctx.Err() == nil {
		v.Kill()
	} else if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.came {
		m.visits++
	}
	return nil
}

// saw and heard are what comes to the impostor.
func (m *misled) saw(q attack.Login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.came = true
	if q.Method != "OPTIONS" {
		m.request = q
	}
}

func (m *misled) heard(q attack.Login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logins = append(m.logins, q)
}

// reuse has a second attacker log in by what the impostor was told.
func (m *misled) reuse(ctx context.Context) (certify.Result, bool) {
	s := m.s
	for _, when := range []string{"at once", "again", "after the owner had watched"} {
		if when == "after the owner had watched" {
			if err := m.own(ctx, "viewer"); err != nil {
				return s.Judge(err), true
			}
		}
		codes := map[string]int64{}
		for _, l := range m.logins {
			answers, err := m.uses(ctx, l)
			if err != nil {
				return s.Judge(err), true
			}
			for _, code := range answers {
				codes[strconv.Itoa(code)]++
				if code == 0 {
					continue // nobody has judged it
				}
				s.Saw("tries", 1)
				s.Try(code/100 == 2)
				if code/100 == 2 {
					return s.Fail("viewers told an impostor %s; %s a second attacker logged in to the camera by that, and was let in: it answered %s with %d",
						told(l), when, l.Method, code), true
				}
			}
		}
		s.Note("%s a second attacker logged in to the camera by what the impostor was told: %v", when, counted(codes))
	}
	return certify.Result{}, false
}

// uses are the camera's answers to a login: said again as it was, with the camera's own address in the request, and, where it tells a password, by
// what the camera asks for.
func (m *misled) uses(ctx context.Context, l attack.Login) (codes []int, err error) {
	var last reply
	for _, uri := range []string{l.URI, m.honest(l.URI)} {
		if last, err = m.ask(ctx, uri, "Authorization: "+l.Authorization); err != nil {
			return nil, err
		}
		codes = append(codes, last.code)
	}
	user, password, ok := l.Password()
	if !ok || last.code != 401 {
		return codes, nil
	}
	uri := m.honest(l.URI)
	if proof, ok := authorization(last.header["Www-Authenticate"], m.request.Method, uri, user, password); ok {
		last, err = m.ask(ctx, uri, proof)
		codes = append(codes, last.code)
	}
	return codes, err
}

// honest is what the impostor was asked for, as the camera is.
func (m *misled) honest(uri string) string {
	return strings.ReplaceAll(uri, m.decoy.String(), m.at.String())
}

// told is a login in words.
func told(l attack.Login) string {
	if user, _, ok := l.Password(); ok {
		return fmt.Sprintf("the password of user %.40q, in the clear (Basic authentication)", user)
	}
	scheme, _, _ := strings.Cut(l.Authorization, " ")
	return fmt.Sprintf("a login by %.20s", scheme)
}

// ask asks the camera for what viewers ask the impostor for, with a field, and returns its answer; code 0: there was none.
func (m *misled) ask(ctx context.Context, uri, field string) (r reply, err error) {
	short, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := m.x.Host("rogue").DialContext(short, "tcp", m.at.String())
	if err != nil {
		return reply{}, ctx.Err()
	}
	defer c.Close()
	defer context.AfterFunc(short, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	fields := "CSeq: 2\r\nHost: " + m.at.String() + "\r\n"
	if field != "" {
		fields += field + "\r\n"
	}
	fmt.Fprintf(c, "%s %s %s\r\n%s\r\n", m.request.Method, uri, m.request.Protocol, fields)
	in := textproto.NewReader(bufio.NewReader(c))
	line, err := in.ReadLine()
	if words := strings.Fields(line); err == nil && len(words) > 1 && strings.Contains(words[0], "/") {
		r.code, _ = strconv.Atoi(words[1])
		head, _ := in.ReadMIMEHeader()
		r.header = http.Header(head)
	}
	return r, ctx.Err()
}
