package stage_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// A camera that does what it declares not to have is found out by asking it, and one that does not is not.
func TestAskedForWhatIsNotDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		vices, answer string // of the fake; and of the camera's port
		has           certify.Feature
		says          string
	}{
		"transfers":          {"", "", "", "declares owner: false, and did transfer"},
		"transfers, and may": {"", "", certify.FeatureOwner, ""},
		"does nothing":       {"no-transfer", "HTTP/1.0 404 Not Found\r\n\r\n", "", ""},
		"asks for a login":   {"no-transfer", "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", "", "declares password: false, and asks for one"},
		"has settings":       {"no-transfer", "HTTP/1.0 200 OK\r\n\r\n<form action=/name>", "", "declares configuration: false"},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := opened(t, c.vices, func(o *stage.Options) {
				o.Declaration.Features[c.has] = true
				o.Declaration.Bounds.Ports = []certify.Port{{Protocol: "tcp", Number: 8080}}
			})
			x, err := s.Set(ctx, "two-homes", stage.UnitsKey, "2")
			if err != nil {
				t.Fatal(err)
			}
			camera, err := x.Camera(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			if c.answer != "" {
				answering(t, x, c.answer)
			}
			got, err := camera.AskUndeclared(ctx, x.Host("camera-2"))
			if err != nil || !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
				t.Errorf("%q %v, want %q", got, err, c.says)
			}
			if r := s.Finish(s.Pass()); c.answer != "" && c.says != "" && !strings.Contains(r.Reason, c.says) {
				t.Errorf("by its packets: %s %s, want %s", r.Verdict, r.Reason, c.says)
			}
		})
	}
}

// answering has a port of the camera's host answer whoever comes.
func answering(t *testing.T, x *stage.Set, answer string) {
	t.Helper()
	var l net.Listener
	err := x.Host("camera").Do(func() (err error) {
		l, err = net.Listen("tcp", "0.0.0.0:8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var b [512]byte
			_, _ = c.Read(b[:])
			fmt.Fprint(c, answer)
			_ = c.Close()
		}
	}()
}
