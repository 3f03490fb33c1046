package cases

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// commonLogins are those that cameras have been delivered with, or that people choose: of Mirai (2016), makers' manuals, and the lists
// of passwords that leaked most. The user is the camera's own where none is given. The first ones are tried in brief, too.
var commonLogins = [][2]string{
	{"admin", "admin"}, {"", "888888"}, {"root", "xc3511"}, {"admin", ""}, {"", "123456"}, {"", "12345"},
	{"root", "vizxv"}, {"root", "root"}, {"root", ""}, {"root", "888888"}, {"root", "xmhdipc"}, {"root", "default"}, {"root", "juantech"},
	{"root", "123456"}, {"root", "54321"}, {"support", "support"}, {"admin", "password"}, {"root", "12345"}, {"user", "user"},
	{"root", "pass"}, {"admin", "admin1234"}, {"root", "1111"}, {"admin", "smcadmin"}, {"admin", "1111"}, {"root", "666666"},
	{"root", "password"}, {"root", "1234"}, {"root", "klv123"}, {"root", "klv1234"}, {"root", "Zte521"}, {"root", "hi3518"},
	{"root", "jvbzd"}, {"root", "anko"}, {"root", "zlxx."}, {"root", "7ujMko0vizxv"}, {"root", "7ujMko0admin"}, {"root", "system"},
	{"root", "ikwb"}, {"root", "dreambox"}, {"root", "user"}, {"root", "realtek"}, {"root", "00000000"}, {"admin", "1234567890"},
	{"admin", "meinsm"}, {"tech", "tech"}, {"guest", "guest"}, {"guest", "12345"}, {"ubnt", "ubnt"}, {"666666", "666666"},
	{"888888", "888888"}, {"service", "service"}, {"supervisor", "supervisor"}, {"admin", "pass"}, {"admin", "4321"}, {"admin", "9999"},
	{"", "admin"}, {"", "password"}, {"", "12345678"}, {"", "123456789"}, {"", "qwerty"}, {"", "111111"}, {"", "000000"}, {"", "1234"},
}

// ownPassword is ID-3: each way in that the camera names is used with the right password, then with none, a blank one, common ones and the
// other unit's; and again once its owner has set another one.
func ownPassword(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	var cameras []*stage.Camera
	var ways [][]wayIn
	for n := 1; n <= 2; n++ {
		c, err := x.Camera(ctx, n)
		if err != nil {
			return s.Judge(err)
		}
		w, err := waysOf(c)
		if err != nil {
			return s.Judge(err)
		}
		if len(w) == 0 {
			return s.Inconclusive("unit %d does not say where it asks for a password, and for which (configuration.json)", n)
		}
		cameras, ways = append(cameras, c), append(ways, w)
	}
	draw := rand.New(rand.NewPCG(s.Seed(0), 3))
	for i, c := range cameras {
		for j, w := range ways[i] {
			other := ""
			if j < len(ways[1-i]) {
				other = ways[1-i][j].Password
			}
			l := &login{door: &door{s: s, m: x.Host("on-path"), way: w, draw: draw}, unit: c.Unit, other: other}
			bad, err := l.try(ctx)
			if err != nil {
				return s.Judge(err)
			}
			if bad != "" {
				return s.Fail("unit %d, %s: %s", c.Unit, w.Name, bad)
			}
		}
	}
	return s.Pass()
}

// login is a door that asks for a password, of one unit.
type login struct {
	*door
	unit  int
	other string // the other unit's password
	old   string // that the owner has replaced
}

// try tries it as delivered, and once its owner has set another password. bad says what is wrong.
func (l *login) try(ctx context.Context) (bad string, err error) {
	if l.way.Password != "" {
		if l.way.Password == l.other {
			return fmt.Sprintf("both units are delivered with the same password, of %d characters", len(l.other)), nil
		}
		if bad, err := l.round(ctx, "as delivered"); bad != "" || err != nil {
			return bad, err
		}
	} else if l.way.Setup == nil {
		return "it is delivered with a blank password, and says of no way to set one", nil
	}
	if l.way.Setup == nil {
		return "", nil
	}
	next := l.word()
	if l.way.Password == "" { // nothing may be given until one is set
		got, err := l.send(ctx, trick{name: "before a password was set"}, l.way.Read, "")
		if err != nil {
			return "", err
		}
		l.s.Saw("tries", 1)
		l.s.Try(got.code/100 == 2)
		if got.code/100 == 2 {
			return fmt.Sprintf("before a password was set its settings were given out, %d bytes", len(got.body)), nil
		}
	}
	got, err := l.asOwner(ctx, *l.way.Setup, next)
	if err != nil {
		return "", err
	}
	l.s.Note("unit %d, %s: its owner sets a password: code %d", l.unit, l.way.Name, got.code)
	l.old, l.way.Password = l.way.Password, next
	return l.round(ctx, "after setup")
}

// round uses the right password, tries wrong ones, and uses the right one again.
func (l *login) round(ctx context.Context, when string) (bad string, err error) {
	if bad, err := l.right(ctx); bad != "" || err != nil {
		return bad, err
	}
	tricks := l.wrong()
	for _, t := range tricks {
		bad, err := l.attack(ctx, t)
		if bad == "" && err == nil && l.way.Media != nil {
			bad, err = l.media(ctx, t)
		}
		if err != nil {
			return "", err
		}
		l.s.Saw("tries", 1)
		if bad != "" {
			return when + ": " + bad, nil
		}
	}
	l.s.Note("unit %d, %s, %s: %d wrong passwords were tried, none got in", l.unit, l.way.Name, when, len(tricks))
	return l.right(ctx)
}

// right has the owner log in.
func (l *login) right(ctx context.Context) (bad string, err error) {
	if bad, err := l.owner(ctx); bad != "" || err != nil || l.way.Media == nil {
		return bad, err
	}
	got, err := l.picture(ctx, l.way.User, l.way.Password)
	if err == nil && got.code/100 != 2 {
		bad = fmt.Sprintf("media with the right password was answered with %d", got.code)
	}
	return bad, err
}

// wrong lists what must not get in.
func (l *login) wrong() []trick {
	tricks := []trick{{name: "without a password"}, {name: "by a blank password", user: l.way.User}}
	if l.way.User == "" {
		tricks = tricks[:1]
	}
	if l.other != "" {
		tricks = append(tricks, trick{name: "by the other unit's password", user: l.way.User, password: l.other})
	}
	if l.old != "" {
		tricks = append(tricks, trick{name: "by the password that was there before", user: l.way.User, password: l.old})
	}
	for _, c := range commonLogins[:l.s.N(len(commonLogins), 6)] {
		user := c[0]
		if user == "" {
			user = l.way.User
		}
		if user != l.way.User || c[1] != l.way.Password {
			tricks = append(tricks, trick{name: fmt.Sprintf("by the common login %s/%s", user, c[1]), user: user, password: c[1]})
		}
	}
	return tricks
}

// media asks for media by a trick.
func (l *login) media(ctx context.Context, t trick) (bad string, err error) {
	got, err := l.picture(ctx, t.user, t.password)
	if err != nil {
		return "", err
	}
	in := got.code/100 == 2
	l.s.Try(in)
	l.s.Record(map[string]any{"way": l.way.Name, "trick": t.name, "media": got.code, "given out": in})
	if in {
		return fmt.Sprintf("media was given out %s: the camera answered with %d", t.name, got.code), nil
	}
	return "", nil
}

// picture asks for media with a login, none where both are empty.
func (l *login) picture(ctx context.Context, user, password string) (reply, error) {
	if strings.HasPrefix(l.way.Media.URL, "rtsp:") {
		return l.describe(ctx, l.way.Media.URL, user, password)
	}
	as := *l.door
	as.way.User, as.way.Password = user, password
	if user == "" && password == "" {
		return as.send(ctx, trick{}, *l.way.Media, "")
	}
	return as.asOwner(ctx, *l.way.Media, "")
}

// describe asks for a stream's description by RTSP (RFC 7826 §13.2): without a login first, and with one if it is asked for.
func (l *login) describe(ctx context.Context, raw, user, password string) (reply, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return reply{}, fmt.Errorf("configuration.json, %s: %w", l.way.Name, err)
	}
	port := u.Port()
	if port == "" {
		port = "554"
	}
	ask := func(headers string) reply {
		c := (&knocker{s: l.s, m: l.m}).dial(ctx, net.JoinHostPort(u.Hostname(), port))
		if c == nil {
			return reply{}
		}
		defer c.Close()
		fmt.Fprintf(c, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n%s\r\n", raw, headers)
		return rtspReply(hear(c))
	}
	first := ask("")
	if first.code != 401 || user == "" && password == "" {
		return first, ctx.Err()
	}
	proof, ok := authorization(first.header["Www-Authenticate"], "DESCRIBE", raw, user, password)
	if !ok {
		return first, ctx.Err()
	}
	return ask(proof + "\r\n"), ctx.Err()
}

// rtspReply reads an answer of RTSP, which looks like HTTP's.
func rtspReply(b []byte) (r reply) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	if _, err := fmt.Sscanf(lines[0], "RTSP/1.0 %d", &r.code); err != nil {
		return reply{}
	}
	r.header, r.body = http.Header{}, string(body)
	for _, line := range lines[1:] {
		if name, value, ok := strings.Cut(line, ":"); ok {
			r.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return r
}
