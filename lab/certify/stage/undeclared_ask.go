package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// undeclaredActions are the actions of features, by which a camera shows that it has them.
var undeclaredActions = []struct {
	feature certify.Feature
	action  certify.Action
}{
	{certify.FeaturePrivacy, certify.ActionPrivacyOn}, {certify.FeatureOwner, certify.ActionTransfer}, {certify.FeatureUpdate, certify.ActionUpdate},
}

// undeclaredFiles are what a camera that has a feature leaves in its result folder.
var undeclaredFiles = []struct {
	name     string
	features []certify.Feature // any of them
}{
	{"configuration.json", []certify.Feature{certify.FeatureConfiguration, certify.FeaturePassword}},
	{"update.json", []certify.Feature{certify.FeatureUpdate}},
}

// AskUndeclared asks a camera for what it declares not to have: by the contract's actions, by the files that it leaves, and at the ports that it
// declares, from another host. It returns what belies the declaration, as of a Fault; "" is nothing. Whoever cannot, or does not know the action,
// belies nothing. The error is the lab's.
func (c *Camera) AskUndeclared(ctx context.Context, from *lab.Machine) (string, error) {
	d := c.set.stage.Decl()
	for _, u := range undeclaredActions {
		if d.Has(u.feature) {
			continue
		}
		switch err := c.Action(ctx, u.action); {
		case err == nil:
			return fmt.Sprintf("declares %s: false, and did %s when it was asked to", u.feature, u.action), nil
		case !OfCamera(err):
			return "", err
		}
	}
	for _, u := range undeclaredFiles {
		b, err := c.Result(u.name, maxIdentity)
		if err == nil && len(b) > 0 && !hasAny(d, u.features) {
			return fmt.Sprintf("declares %s: false, and left %s", u.features[0], u.name), nil
		}
		if err != nil && !OfCamera(err) {
			return "", err
		}
	}
	for _, p := range d.Bounds.Ports {
		for _, addr := range c.Addrs() {
			if p.Protocol != "tcp" || from == nil {
				continue
			}
			at := netip.AddrPortFrom(addr, p.Number)
			for _, b := range knock(ctx, from, at) {
				if what := answersUndeclared(d, b); what != "" {
					return fmt.Sprintf("%s, from %v", what, at), nil
				}
			}
		}
	}
	return "", ctx.Err()
}

// OfCamera reports whether an error says something of the vendor's programs, and nothing of the lab.
func OfCamera(err error) bool {
	return errors.As(err, new(*Unsupported)) || errors.As(err, new(*Fault)) || errors.As(err, new(*Timeout))
}

func hasAny(d *certify.Declaration, features []certify.Feature) bool {
	for _, f := range features {
		if d.Has(f) {
			return true
		}
	}
	return false
}

// knock asks a TCP port by HTTP and by RTSP, and returns what it answered within two seconds each, 64 KiB at most.
func knock(ctx context.Context, from *lab.Machine, at netip.AddrPort) (answers [][]byte) {
	for _, ask := range []string{"GET / HTTP/1.0\r\nHost: " + at.String() + "\r\n\r\n", "DESCRIBE rtsp://" + at.String() + "/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"} {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		conn, err := from.DialContext(short, "tcp", at.String())
		if err == nil {
			stop := context.AfterFunc(short, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			if _, err := io.WriteString(conn, ask); err == nil {
				b, _ := io.ReadAll(io.LimitReader(conn, 64<<10)) // what came until then
				answers = append(answers, b)
			}
			stop()
			_ = conn.Close()
		}
		cancel()
	}
	return answers
}

// Signs of a feature in what a server says, and a client asks for, by HTTP (RFC 9110 §15.5.2) and RTSP (RFC 7826 §17.4.2).
var (
	login    = regexp.MustCompile(`^(HTTP/1\.[01]|RTSP/[12]\.0) 401\b`)
	settings = regexp.MustCompile(`(?is)^HTTP/1\.[01] 200\b.*<(form|input)\b`)
	passes   = regexp.MustCompile(`(?is)^HTTP/1\.[01] 200\b.*type=["']?password`)
	image    = regexp.MustCompile(`(?i)^GET [^ ]*(firmware|/fw|/ota|upgrade|update|\.bin|\.img)[^ ]* HTTP/1`)
)

// answersUndeclared says which feature an answer of the camera's shows that it declares not to have; "" is none.
func answersUndeclared(d *certify.Declaration, b []byte) string {
	first, _, _ := bytes.Cut(b[:min(len(b), 80)], []byte("\r\n"))
	switch {
	case !d.Has(certify.FeaturePassword) && login.Match(b):
		return fmt.Sprintf("declares password: false, and asks for one: %q", first)
	case !d.Has(certify.FeaturePassword) && passes.Match(b):
		return "declares password: false, and serves a page that asks for one"
	case !d.Has(certify.FeatureConfiguration) && settings.Match(b):
		return "declares configuration: false, and serves a page with a form"
	}
	return ""
}

// saysUndeclared is answersUndeclared of all that a camera sends by TCP, and of what it asks for.
func saysUndeclared(d *certify.Declaration, ps []tape.Packet, cameras func(host string) bool) string {
	for i := range ps {
		p := &ps[i]
		if !p.Out || !tape.TCP(p) || len(p.Payload) < 12 || !cameras(p.Host) {
			continue
		}
		if what := answersUndeclared(d, p.Payload); what != "" {
			return what
		}
		if !d.Has(certify.FeatureUpdate) && image.Match(p.Payload) {
			first, _, _ := bytes.Cut(p.Payload[:min(len(p.Payload), 80)], []byte("\r\n"))
			return fmt.Sprintf("declares update: false, and asked for an image: %q", first)
		}
	}
	return ""
}
