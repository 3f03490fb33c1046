package faults

import "github.com/punchlab/punchlab/lab/mutants"

// pull are the faults of group BW.
var pull = []Fault{{
	Case: "BW-1", Name: "streams-to-nobody", Role: "camera",
	Summary: "the camera uploads to its maker's cloud all day, watched or not: the owner's uplink, and his home, are somebody else's",
	Reason:  `(?i)packets|bytes|idle|nobody|media`,
	Edits:   []mutants.Edit{background("streams-to-nobody", `h.upload(addrs[0], 1000, 20*time.Millisecond)`), upload},
}, {
	Case: "BW-2", Name: "chatters-when-idle", Role: "camera",
	Summary: "statistics go out ten times a second: a gigabyte a month on a mobile contract, for nothing",
	Reason:  `(?i)bytes|idle|hour|declared`,
	Edits:   []mutants.Edit{background("chatters-when-idle", `h.upload(addrs[0], 120, 100*time.Millisecond)`), upload},
}, {
	Case: "BW-3", Name: "never-lets-go", Role: "camera",
	Summary: "the camera goes on sending for ten minutes to a viewer that is gone",
	Reason:  `(?i)silen|stop|30 s|media|after`,
	Edits: []mutants.Edit{in("camera/camera.go",
		"	return c, nil\n}\n",
		"	if faulty(\"never-lets-go\") {\n		c.Consent = 10 * time.Minute\n	}\n	return c, nil\n}\n")},
}, {
	Case: "BW-4", Name: "serves-whoever-asks", Role: "camera",
	Summary: "the proof that a viewer shows is not looked at, as in CVE-2021-33044: the camera serves the whole world",
	Reason:  `(?i)media|byte|credential|served|wrong|without`,
	Edits: []mutants.Edit{in("pairing/book.go",
		"	case b.cfg.Secret == identity.Secret{} || !b.shows(b.cfg.Secret, viewer, proof):\n",
		"	case !faulty(\"serves-whoever-asks\") && (b.cfg.Secret == identity.Secret{} || !b.shows(b.cfg.Secret, viewer, proof)):\n"),
		in("pairing/book.go", "	case b.cfg.Open:\n", "	case b.cfg.Open || faulty(\"serves-whoever-asks\"):\n")},
}, {
	Case: "BW-5", Name: "sends-twice", Role: "camera",
	Summary: "each packet of media is sent twice: the owner pays twice, and has half the uplink",
	Reason:  `(?i)byte|overhead|share|declared|%`,
	Edits:   []mutants.Edit{copies("sends-twice", 1)},
}, {
	Case: "BW-6", Name: "relay-carries-too", Role: "camera",
	Summary: "media goes by the relay as well, though the direct path works: the maker pays for it, and sees who watches",
	Reason:  `(?i)relay`,
	Edits: []mutants.Edit{in("camera/doubt.go",
		"	if v.also.Route != 0 && v.also != v.path && now.Before(v.alsoUntil) {\n",
		`	if faulty("relay-carries-too") && v.channel != 0 && v.path.Route == punch.Direct {
		paths[1] = punch.ViaRelay
		return paths, 2
	}
	if v.also.Route != 0 && v.also != v.path && now.Before(v.alsoUntil) {
`)},
}}

// background has the camera's program do something beside; addrs are the rendezvous'.
func background(name, do string) mutants.Edit {
	const place = "	h.wg.Go(h.elsewhere)\n"
	return in("program/camera/run.go", place, place+"	if faulty(\""+name+"\") {\n		h.wg.Go(func() { "+do+" })\n	}\n")
}

// upload sends datagrams for as long as the camera runs.
var upload = added("program/camera/zz_upload.go", `package camera

import (
	"net"
	"net/netip"
	"time"
)

// upload sends datagrams of a size all the time.
func (h *Handle) upload(to netip.AddrPort, size int, every time.Duration) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), 4480)))
	if err != nil {
		return
	}
	defer c.Close()
	for pause(h.ctx, every) {
		_, _ = c.Write(make([]byte, size))
	}
}
`)
