package portmap

import (
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/soap"
)

// connections are the services that map ports (UPnP InternetGatewayDevice:2), the best first.
var connections = []string{
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
}

// Error codes of WANIPConnection:2 §2.5.
const (
	upnpNoSuchEntry   = 714
	upnpConflict      = 718
	upnpSamePorts     = 724 // external and internal port must be equal
	upnpOnlyPermanent = 725
)

const (
	maxDocument   = 256 << 10 // bytes of a description or an answer
	conflictTries = 8         // of other external ports
)

// igd is a UPnP internet gateway device. It is used by one goroutine at a time.
type igd struct {
	cfg       *Config
	kind      string // of the service; empty: not found yet
	control   *url.URL
	permanent bool // it refuses leases that end
	client    http.Client
}

func (*igd) method() Method { return UPnP }

// discover looks for the gateway's service, by search and description. It fails by leaving kind empty.
func (u *igd) discover(ctx context.Context) {
	u.client = u.cfg.httpClient()
	location, err := u.cfg.search(ctx)
	if err != nil {
		return
	}
	root, err := u.describe(ctx, location)
	if err != nil {
		return
	}
	best := len(connections)
	root.Device.VisitServices(func(s *goupnp.Service) {
		i := slices.Index(connections, s.ServiceType)
		if i >= 0 && i < best && s.ControlURL.Ok && u.cfg.atGateway(&s.ControlURL.URL) {
			best, u.kind, u.control = i, s.ServiceType, &s.ControlURL.URL
		}
	})
}

// describe fetches the description that the search has named.
func (u *igd) describe(ctx context.Context, location *url.URL) (*goupnp.RootDevice, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch description: %s", resp.Status)
	}
	root := new(goupnp.RootDevice)
	d := xml.NewDecoder(resp.Body)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	base := location
	if b, err := url.Parse(root.URLBaseStr); err == nil && root.URLBaseStr != "" {
		base = b
	}
	root.SetURLBase(base)
	return root, nil
}

// atGateway says whether a URL leads to the gateway: a description that names another host would have us call it.
func (c *Config) atGateway(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a == c.Gateway && u.Scheme == "http"
}

// httpClient opens connections by Config.DialContext, follows nobody elsewhere and reads no endless answers.
func (c *Config) httpClient() http.Client {
	t := &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}
	return http.Client{
		Transport:     bounded{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts answers off.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxDocument), resp.Body}
	}
	return resp, err
}

// The arguments of the actions, in the order in which devices want them.
type (
	addPortMapping struct {
		NewRemoteHost, NewExternalPort, NewProtocol, NewInternalPort, NewInternalClient string
		NewEnabled, NewPortMappingDescription, NewLeaseDuration                         string
	}
	reservedPort      struct{ NewReservedPort string }
	deletePortMapping struct{ NewRemoteHost, NewExternalPort, NewProtocol string }
	externalIPAddress struct{ NewExternalIPAddress string }
)

// call performs an action; an error of the device's is a *soap.SOAPFaultError.
func (u *igd) call(ctx context.Context, action string, in, out any) error {
	c := soap.SOAPClient{EndpointURL: *u.control, HTTPClient: u.client}
	return c.PerformActionCtx(ctx, u.kind, action, in, out)
}

// code is the device's reason; 0: the error is none of the device's.
func code(err error) int {
	if fault, ok := errors.AsType[*soap.SOAPFaultError](err); ok {
		return fault.Detail.UPnPError.Errorcode
	}
	return 0
}

// refusal makes a device's reason one of ours.
func refusal(action string, err error) error {
	if c := code(err); c != 0 {
		fault, _ := errors.AsType[*soap.SOAPFaultError](err)
		return fmt.Errorf("%w: %s: %s (error %d)", ErrRefused, action, printable(fault.Detail.UPnPError.ErrorDescription), c)
	}
	return fmt.Errorf("%s: %w", action, err)
}

// printable is a device's text, short and without what could confuse a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 80)]
}

func (u *igd) request(ctx context.Context, port uint16) (g grant, err error) {
	if u.kind == "" {
		if u.discover(ctx); u.kind == "" {
			return g, fmt.Errorf("%w to a search for a gateway device", ErrNoService)
		}
	}
	got, life, err := u.add(ctx, port)
	if err != nil {
		if code(err) == 0 {
			u.kind = "" // it may have moved: look again next time
		}
		return g, err
	}
	var out externalIPAddress
	if err := u.call(ctx, "GetExternalIPAddress", nil, &out); err != nil {
		return g, refusal("GetExternalIPAddress", err)
	}
	external, err := netip.ParseAddr(strings.TrimSpace(out.NewExternalIPAddress))
	if err != nil || !external.Is4() {
		return g, fmt.Errorf("%w: it has no external address", ErrRefused)
	}
	return grant{external: netip.AddrPortFrom(external, got), lifetime: life, at: time.Now()}, nil
}

// add maps the port, or another where that one is taken, and returns the one that was granted and for how long.
func (u *igd) add(ctx context.Context, port uint16) (uint16, time.Duration, error) {
	err := u.addOne(ctx, port)
	switch c := code(err); {
	case c == upnpConflict && u.kind == connections[0]:
		port, err = u.addAny(ctx, port)
	case c == upnpConflict:
		for i := 0; i < conflictTries && code(err) == upnpConflict; i++ {
			if port, err = u.anotherPort(); err == nil {
				err = u.addOne(ctx, port)
			}
		}
	case c == upnpSamePorts && port != u.cfg.Internal.Port():
		port = u.cfg.Internal.Port()
		err = u.addOne(ctx, port)
	}
	if err != nil {
		return 0, 0, refusal("AddPortMapping", err)
	}
	return port, u.lease(), nil
}

// lease is what is asked for; 0: without end.
func (u *igd) lease() time.Duration {
	if u.permanent {
		return 0
	}
	return u.cfg.Lifetime
}

func (u *igd) arguments(port uint16) *addPortMapping {
	return &addPortMapping{
		NewExternalPort: strconv.Itoa(int(port)), NewProtocol: u.cfg.Transport.String(),
		NewInternalPort: strconv.Itoa(int(u.cfg.Internal.Port())), NewInternalClient: u.cfg.Internal.Addr().String(),
		NewEnabled: "1", NewPortMappingDescription: u.cfg.Name, NewLeaseDuration: strconv.Itoa(int(u.lease() / time.Second)),
	}
}

// addOne maps this very port; without an end where the device knows no other leases.
func (u *igd) addOne(ctx context.Context, port uint16) error {
	err := u.call(ctx, "AddPortMapping", u.arguments(port), nil)
	if code(err) == upnpOnlyPermanent && !u.permanent {
		u.permanent = true
		err = u.call(ctx, "AddPortMapping", u.arguments(port), nil)
	}
	return err
}

// addAny has the device choose another port (WANIPConnection:2 §2.5.21).
func (u *igd) addAny(ctx context.Context, port uint16) (uint16, error) {
	var out reservedPort
	if err := u.call(ctx, "AddAnyPortMapping", u.arguments(port), &out); err != nil {
		return 0, err
	}
	got, err := strconv.ParseUint(strings.TrimSpace(out.NewReservedPort), 10, 16)
	if err != nil || got == 0 {
		return 0, fmt.Errorf("%w: it grants port %q", ErrRefused, printable(out.NewReservedPort))
	}
	return uint16(got), nil
}

// anotherPort draws one above those of well-known services.
func (u *igd) anotherPort() (uint16, error) {
	var b [2]byte
	if _, err := io.ReadFull(u.cfg.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw port: %w", err)
	}
	const least = 1024
	return least + binary.BigEndian.Uint16(b[:])%(1<<16-least), nil
}

func (u *igd) release(ctx context.Context, g grant) error {
	if u.kind == "" {
		return nil
	}
	in := &deletePortMapping{NewExternalPort: strconv.Itoa(int(g.external.Port())), NewProtocol: u.cfg.Transport.String()}
	if err := u.call(ctx, "DeletePortMapping", in, nil); err != nil && code(err) != upnpNoSuchEntry {
		return refusal("DeletePortMapping", err)
	}
	return nil
}
