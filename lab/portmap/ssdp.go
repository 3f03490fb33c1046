package portmap

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// SSDP (UPnP Device Architecture 1.1 §1): HTTP's headers in a datagram.
const (
	ssdpMax    = 2048
	ssdpMaxAge = 1800 // s, of what is advertised

	serverHeader = "Linux UPnP/1.1 punchlab/1"
)

// SSDP answers a datagram to port 1900 of the gateway or of SSDPGroup: what was searched for, each at its own.
func (c *Core) SSDP(from netip.AddrPort, b []byte) [][]byte {
	answers, reason := c.ssdp(from, b)
	c.counts[reason]++
	return answers
}

func (c *Core) ssdp(from netip.AddrPort, b []byte) ([][]byte, Reason) {
	if !c.fromLAN(from.Addr()) {
		return nil, Foreign
	}
	target, reason := parseSearch(b)
	switch {
	case reason != Told:
		return nil, reason
	case !speaks(c.cfg.UPnP):
		return nil, Ignored
	}
	var answers [][]byte
	for _, a := range c.advertised() {
		if target != "ssdp:all" && !a.answers(target) {
			continue
		}
		if target != "ssdp:all" {
			a.usn, a.target = strings.Replace(a.usn, a.target, target, 1), target // in the version asked for
		}
		answers = append(answers, []byte("HTTP/1.1 200 OK\r\n"+
			"CACHE-CONTROL: max-age="+strconv.Itoa(ssdpMaxAge)+"\r\n"+
			"EXT:\r\n"+
			"LOCATION: "+c.location()+"\r\n"+
			"SERVER: "+serverHeader+"\r\n"+
			"ST: "+a.target+"\r\n"+
			"USN: "+a.usn+"\r\n\r\n"))
	}
	if answers == nil {
		return nil, Ignored // someone else may be what is searched for
	}
	return answers, Told
}

// parseSearch returns what an M-SEARCH searches for; a reason other than Told if it is none.
func parseSearch(b []byte) (target string, r Reason) {
	if len(b) > ssdpMax {
		return "", Malformed
	}
	line, rest, ok := strings.Cut(string(b), "\r\n")
	switch {
	case !ok:
		return "", Malformed
	case strings.HasPrefix(line, "NOTIFY "), strings.HasPrefix(line, "HTTP/"):
		return "", Ignored // another device's
	case line != "M-SEARCH * HTTP/1.1":
		return "", Malformed
	}
	headers := map[string]string{}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return "", Malformed
		}
		headers[strings.ToUpper(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	if headers["MAN"] != `"ssdp:discover"` || headers["ST"] == "" {
		return "", Malformed
	}
	return headers["ST"], Told
}

// advertisement is one thing that can be searched for.
type advertisement struct{ target, usn string }

// advertised lists the root device, the devices in it and their services.
func (c *Core) advertised() []advertisement {
	list := []advertisement{{"upnp:rootdevice", c.uuid(0) + "::upnp:rootdevice"}}
	for i, d := range deviceTypes {
		list = append(list, advertisement{c.uuid(i), c.uuid(i)})
		list = append(list, c.advertise(i, d.urn(c.cfg.IGDVersion)))
		for _, s := range d.services {
			list = append(list, c.advertise(i, s.urn(c.cfg.IGDVersion)))
		}
	}
	return list
}

func (c *Core) advertise(device int, urn string) advertisement {
	return advertisement{urn, c.uuid(device) + "::" + urn}
}

// answers reports whether a search means this: a device or service answers for earlier versions of itself too.
func (a advertisement) answers(target string) bool {
	if a.target == target {
		return true
	}
	name, version, ok := cutVersion(a.target)
	wanted, wantedVersion, ok2 := cutVersion(target)
	return ok && ok2 && name == wanted && 1 <= wantedVersion && wantedVersion <= version
}

// cutVersion splits urn:schemas-upnp-org:service:WANIPConnection:2 before its version.
func cutVersion(urn string) (name string, version int, ok bool) {
	i := strings.LastIndexByte(urn, ':')
	if i < 0 || !strings.HasPrefix(urn, "urn:") {
		return "", 0, false
	}
	version, err := strconv.Atoi(urn[i+1:])
	return urn[:i], version, err == nil
}

// aliveNotices advertise the device without being asked.
func (c *Core) aliveNotices() (notices [][]byte) {
	if !speaks(c.cfg.UPnP) {
		return nil
	}
	for _, a := range c.advertised() {
		notices = append(notices, []byte("NOTIFY * HTTP/1.1\r\n"+
			"HOST: "+SSDPGroup.String()+"\r\n"+
			"CACHE-CONTROL: max-age="+strconv.Itoa(ssdpMaxAge)+"\r\n"+
			"LOCATION: "+c.location()+"\r\n"+
			"NT: "+a.target+"\r\n"+
			"NTS: ssdp:alive\r\n"+
			"SERVER: "+serverHeader+"\r\n"+
			"USN: "+a.usn+"\r\n\r\n"))
	}
	return notices
}

func (c *Core) location() string {
	return "http://" + netip.AddrPortFrom(c.router.Address, c.cfg.HTTPPort).String() + descriptionPath
}

// uuid names a device of this router; the same address gets the same names in each run.
func (c *Core) uuid(device int) string {
	return fmt.Sprintf("uuid:70756e63-686c-4162-8%03x-0000%x", device, c.router.Address.AsSlice())
}

// uptime is what UPnP calls seconds since the last reboot.
func (c *Core) uptime(now time.Duration) string { return strconv.Itoa(int(c.epoch(now))) }
