package portmap

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"net/url"
)

// SSDP (UPnP Device Architecture 1.1 §1.3): HTTP in datagrams. The gateway is asked by its own address too, which version
// 1.1 of the architecture demands that it answers: multicast is often lost in wireless networks.
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

const (
	gatewayDevice = "urn:schemas-upnp-org:device:InternetGatewayDevice:1" // later versions answer to it as well
	ssdpSearch    = "M-SEARCH * HTTP/1.1\r\n" +
		"HOST: 239.255.255.250:1900\r\n" +
		"MAN: \"ssdp:discover\"\r\n" +
		"MX: 1\r\n" +
		"ST: " + gatewayDevice + "\r\n\r\n"
)

// search returns where the gateway's description is. Other devices' answers are left out: their words count for nothing here.
func (c *Config) search(ctx context.Context) (location *url.URL, err error) {
	to := []netip.AddrPort{netip.AddrPortFrom(c.Gateway, ssdpGroup.Port()), ssdpGroup}
	err = c.asking(ctx, to, []byte(ssdpSearch), func(from netip.AddrPort, b []byte) (bool, error) {
		if from.Addr() != c.Gateway {
			return false, nil
		}
		location = readLocation(b)
		return location != nil && c.atGateway(location), nil
	})
	if err != nil {
		return nil, err
	}
	return location, nil
}

// readLocation reads a search's answer; nil: it is none.
func readLocation(b []byte) *url.URL {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK || r.Header.Get("St") != gatewayDevice {
		return nil
	}
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		return nil
	}
	return u
}
