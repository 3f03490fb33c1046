package cases

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// reply is what a server said: nothing (0) where it refused the connection, hung up or kept still.
type reply struct {
	code   int
	header http.Header
	body   string
}

// Limits of one request: its time, and how much of an answer is read.
const (
	askTime    = 3 * time.Second
	askAnswer  = 1 << 20
	askDefault = "80"
)

// line is a request as it is written: any target and any headers, right or wrong.
type line struct {
	method, target string
	headers        []string // "Name: value"
	body           string
}

func (l line) bytes(host string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", l.method, l.target)
	named := map[string]bool{}
	for _, h := range l.headers {
		name, _, _ := strings.Cut(h, ":")
		named[strings.ToLower(name)] = true
		b.WriteString(h + "\r\n")
	}
	if !named["host"] {
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	if l.body != "" || l.method == "PUT" || l.method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(l.body))
	}
	b.WriteString("Connection: keep-alive\r\n\r\n" + l.body)
	return []byte(b.String())
}

// exchange says lines one after the other on one connection from a host, and returns the last answer. The error is the context's alone.
func exchange(ctx context.Context, m *lab.Machine, address string, lines ...line) (last reply, err error) {
	short, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := m.DialContext(short, "tcp", address)
	if err != nil {
		return reply{}, ctx.Err()
	}
	defer c.Close()
	defer context.AfterFunc(short, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	r := bufio.NewReader(c)
	for _, l := range lines {
		if last = say(c, r, l, address); last.code == 0 {
			break
		}
	}
	return last, ctx.Err()
}

func say(c net.Conn, r *bufio.Reader, l line, address string) reply {
	if _, err := c.Write(l.bytes(address)); err != nil {
		return reply{}
	}
	got, err := http.ReadResponse(r, &http.Request{Method: l.method})
	if err != nil {
		return reply{}
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(got.Body, askAnswer))
	return reply{got.StatusCode, got.Header, string(body)}
}

// place is where a URL is: the address to connect to, and the target to ask for.
func place(raw string) (address, target string, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", "", fmt.Errorf("URL %q: give one of http, with an address", raw)
	}
	port := u.Port()
	if port == "" {
		port = askDefault
	}
	return net.JoinHostPort(u.Hostname(), port), u.RequestURI(), nil
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

var digestPart = regexp.MustCompile(`(\w+)=(?:"([^"]*)"|([^\s,]+))`)

// authorization answers a challenge (RFC 7617, RFC 7616) by credentials; false: it is one of neither kind.
func authorization(challenges []string, method, target, user, password string) (string, bool) {
	for _, challenge := range challenges {
		kind, rest, _ := strings.Cut(challenge, " ")
		switch strings.ToLower(kind) {
		case "basic":
			return basic(user, password), true
		case "digest":
			part := map[string]string{}
			for _, m := range digestPart.FindAllStringSubmatch(rest, -1) {
				part[strings.ToLower(m[1])] = m[2] + m[3]
			}
			return digestProof(part, "70756e63686c6162", method, target, user, password), true
		}
	}
	return "", false
}

func digestProof(part map[string]string, ours, method, target, user, password string) string {
	sum := func(s string) string {
		var h hash.Hash = md5.New()
		if strings.HasPrefix(strings.ToUpper(part["algorithm"]), "SHA-256") {
			h = sha256.New()
		}
		h.Write([]byte(s))
		return hex.EncodeToString(h.Sum(nil))
	}
	a1, a2 := sum(user+":"+part["realm"]+":"+password), sum(method+":"+target)
	answer, more := sum(a1+":"+part["nonce"]+":"+a2), ""
	if strings.Contains(part["qop"], "auth") {
		const count = "00000001"
		answer = sum(strings.Join([]string{a1, part["nonce"], count, ours, "auth", a2}, ":"))
		more = fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s"`, count, ours)
	}
	if v := part["algorithm"]; v != "" {
		more += ", algorithm=" + v
	}
	if v := part["opaque"]; v != "" {
		more += fmt.Sprintf(`, opaque="%s"`, v)
	}
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"%s`,
		user, part["realm"], part["nonce"], target, answer, more)
}
