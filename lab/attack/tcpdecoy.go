package attack

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// The schemes by which a Decoy asks for a login.
const (
	AskBasic  = "Basic"  // RFC 7617: the password itself is told
	AskDigest = "Digest" // RFC 7616: a proof is, which the nonce is part of
)

// Login is what a client has told a Decoy. Nothing in it has been tested.
type Login struct {
	Method, URI   string // of the request: DESCRIBE, rtsp://203.0.113.1:8554/stream
	Protocol      string // RTSP/1.0
	Authorization string // the field's value (RFC 9110 §11.6.2): Basic dXNlcjpwYXNz
}

// Decoy is where clients think that their camera is: it takes TCP connections, asks by RTSP (RFC 2326) or HTTP, as it was asked, for a
// login, keeps what it is told, and has nothing to give.
type Decoy struct {
	At    netip.AddrPort       // where it listens; the zero address is any of the host's
	Ask   func() string        // AskBasic or AskDigest, each time that it asks; nil: AskBasic
	Ready func(netip.AddrPort) // called once it listens; nil: nobody asks
	Heard func(Login)          // each login; nil: nobody asks. It must not block
	Came  func(Login)          // each request, before it is answered, its login or none; nil: nobody asks. It must not block
	Seed  uint64
}

// requestIn is how long a client may take for a request.
const requestIn = 5 * time.Second

// Name returns "decoy".
func (d *Decoy) Name() string { return "decoy" }

// Run takes connections until the budget is spent or ctx ends. The budget's packets are answers.
func (d *Decoy) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(d, m, b)
	if err != nil {
		return r, err
	}
	l, err := m.ListenTCP(d.At)
	if err != nil {
		return r, fmt.Errorf("decoy: %w", err)
	}
	account := newMeter(b, time.Now())
	defer account.watch(ctx)()
	w := &decoying{Decoy: d, report: &r, account: account, open: map[net.Conn]bool{}}
	w.nonce = hex.EncodeToString(newGarbler(d.Seed, nil).noise(16))
	var closing sync.WaitGroup
	closing.Go(func() { <-account.over; _ = l.Close(); w.hangUp() })
	if d.Ready != nil {
		d.Ready(netip.AddrPortFrom(m.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port()))
	}
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		w.serving.Go(func() { w.serve(c) })
	}
	account.end(Cancelled)
	closing.Wait()
	w.serving.Wait()
	account.write(&r)
	return r, nil
}

// decoying is a Decoy at work.
type decoying struct {
	*Decoy
	account *meter
	nonce   string
	serving sync.WaitGroup

	mu     sync.Mutex
	report *Report
	open   map[net.Conn]bool
	closed bool
}

// hangUp closes the connections that are open.
func (w *decoying) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.open {
		_ = c.Close()
	}
}

// serve answers what comes on a connection.
func (w *decoying) serve(c net.Conn) {
	defer c.Close()
	w.mu.Lock()
	w.open[c] = !w.closed
	gone := w.closed
	w.report.Counts["connections"]++
	w.mu.Unlock()
	defer func() { w.mu.Lock(); delete(w.open, c); w.mu.Unlock() }()
	in := bufio.NewReader(io.LimitReader(c, 1<<20))
	for !gone {
		_ = c.SetDeadline(time.Now().Add(requestIn))
		q, err := readRequest(in)
		if err != nil {
			return
		}
		if w.Came != nil {
			w.Came(q.Login)
		}
		answer := w.answer(q)
		if !w.account.take(time.Now(), len(answer)) {
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// asked is a request.
type asked struct {
	Login
	cseq string
}

// readRequest reads a request's head; a body ends the connection, as what follows is no request.
func readRequest(in *bufio.Reader) (q asked, err error) {
	text := textproto.NewReader(in)
	line, err := text.ReadLine()
	if err != nil {
		return q, err
	}
	words := strings.Fields(line)
	if len(words) != 3 || !strings.Contains(words[2], "/") {
		return q, fmt.Errorf("no request: %.40q", line)
	}
	head, err := text.ReadMIMEHeader()
	if err != nil {
		return q, err
	}
	return asked{Login{words[0], words[1], words[2], head.Get("Authorization")}, head.Get("CSeq")}, nil
}

// answer keeps a login that a request has, and asks for one otherwise.
func (w *decoying) answer(q asked) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Received.add(len(q.URI) + len(q.Authorization))
	fields := "Content-Length: 0\r\n"
	if q.cseq != "" {
		fields += "CSeq: " + q.cseq + "\r\n"
	}
	switch {
	case q.Authorization != "":
		told, _, _ := strings.Cut(q.Authorization, " ")
		w.report.Counts["logins by "+told]++
		if who, _, ok := q.Password(); ok {
			w.report.Gained = append(w.report.Gained, fmt.Sprintf("the password of user %.40q, told by Basic authentication", who))
		}
		if w.Heard != nil {
			w.Heard(q.Login)
		}
		return q.Protocol + " 404 Not Found\r\n" + fields + "\r\n"
	case q.Method == "OPTIONS":
		return q.Protocol + " 200 OK\r\n" + fields + "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n"
	}
	scheme := AskBasic
	if w.Ask != nil {
		scheme = w.Ask()
	}
	if scheme == AskDigest {
		fields += fmt.Sprintf("WWW-Authenticate: Digest realm=\"camera\", nonce=\"%s\"\r\n", w.nonce)
	} else {
		fields += "WWW-Authenticate: Basic realm=\"camera\"\r\n"
	}
	w.report.Counts["asked to log in by "+scheme]++
	return q.Protocol + " 401 Unauthorized\r\n" + fields + "\r\n"
}

// Password is whose password the login tells, and which, if it tells one (RFC 7617 §2).
func (l Login) Password() (user, password string, ok bool) {
	scheme, rest, _ := strings.Cut(l.Authorization, " ")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if !strings.EqualFold(scheme, AskBasic) || err != nil {
		return "", "", false
	}
	return strings.Cut(string(b), ":")
}
