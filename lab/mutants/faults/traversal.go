package faults

import "github.com/punchlab/punchlab/lab/mutants"

// traversal are the faults of group NAT.
var traversal = []Fault{{
	Case: "NAT-1", Name: "never-punches", Role: "camera",
	Summary: "the camera takes the relay though both routers would let it through: the maker pays for each byte, and is asked to watch",
	Reason:  `did not go directly`,
	Edits:   []mutants.Edit{viewersPolicy("never-punches", "v.policy.Direct = false")},
}, {
	Case: "NAT-2", Name: "relay-refused", Role: "rendezvous",
	Summary: "the server gives out no relay: who has two strict routers between his phone and his camera sees nothing",
	Reason:  `no whole frame`,
	Edits: []mutants.Edit{in("rendezvous/relay.go",
		"	if t.relay != nil || s.cfg.NoRelay ||",
		"	if faulty(\"relay-refused\") || t.relay != nil || s.cfg.NoRelay ||")},
}, {
	Case: "NAT-3", Name: "punches-private-addresses-alone", Role: "camera",
	Summary: "the camera tries the addresses that the viewer has at home, and not the one that the internet sees: a second NAT is one too many",
	Reason:  `did not go directly`,
	Edits: []mutants.Edit{
		in("camera/answer.go",
			"	direct := v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive) != nil\n",
			"	direct := !faulty(\"punches-private-addresses-alone\") && v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive) != nil\n"),
		in("camera/doubt.go",
			"	v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive)\n",
			`	if !faulty("punches-private-addresses-alone") {
		v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive)
	}
`)},
}, {
	Case: "NAT-4", Name: "never-local", Role: "camera",
	Summary: "the camera keeps its own addresses to itself: who sits beside it watches by way of another country",
	Reason:  `left the site by the router's uplink`,
	Edits: []mutants.Edit{
		in("camera/viewer.go",
			"	for _, e := range v.candidates {\n",
			"	if faulty(\"never-local\") {\n		return\n	}\n	for _, e := range v.candidates {\n"),
		in("camera/camera.go",
			"	cfg, err := cfg.withDefaults()\n",
			"	if faulty(\"never-local\") {\n		cfg.Host, cfg.LAN = nil, false\n	}\n	cfg, err := cfg.withDefaults()\n")},
}, {
	Case: "NAT-5", Name: "direct-by-ipv4-alone", Role: "camera",
	Summary: "the camera looks for direct paths in IPv4 alone: in a network that has none the relay carries everything",
	Reason:  `did not go directly`,
	Edits:   []mutants.Edit{viewersPolicy("direct-by-ipv4-alone", "v.policy.Methods &^= punch.MethodIPv6")},
}, {
	Case: "NAT-6", Name: "udp-or-nothing", Role: "viewer",
	Summary: "the app knows no way but UDP: in hotels and offices there is no picture",
	Reason:  `no media flowed in time`,
	Edits: []mutants.Edit{in("uplink/uplink.go",
		"		if isStream(a) {\n			w = &l.ways[streams]\n",
		"		if isStream(a) {\n			if faulty(\"udp-or-nothing\") {\n				continue\n			}\n			w = &l.ways[streams]\n")},
}, {
	Case: "NAT-7", Name: "keepalive-every-10-minutes", Role: "camera",
	Summary: "the camera is silent for ten minutes at a time: most routers have forgotten it by then, and nobody reaches it",
	Reason:  `did not reach the camera|the stream was cut`,
	Edits:   []mutants.Edit{nextPing("keepalive-every-10-minutes", "10*time.Minute")},
}, {
	Case: "NAT-8", Name: "trusts-any-address", Role: "camera",
	Summary: "media goes wherever the last packet came from: whoever sends a copy from a victim's address has the camera flood it",
	Reason:  `before it had been validated`,
	Edits: []mutants.Edit{in("camera/viewer.go",
		"	case cand != nil && !cand.Trusted:\n		return v.challenge(now, cand, size)\n	}\n	v.use, v.newest",
		"	case cand != nil && !cand.Trusted && !faulty(\"trusts-any-address\"):\n		return v.challenge(now, cand, size)\n	}\n	v.use, v.newest"),
		in("camera/viewer.go",
			"			v = c.byPath(path)\n		}\n		if v == nil {\n			return errStray\n",
			`			v = c.byPath(path)
		}
		if faulty("trusts-any-address") && v == nil && path.Route == punch.Direct {
			for _, u := range c.viewers {
				if u.rtcp(now, b) == nil {
					u.trust(now, path)
					u.shift(now, path)
					return nil
				}
			}
		}
		if v == nil {
			return errStray
`)},
}, {
	Case: "NAT-9", Name: "first-address-for-ever", Role: "camera",
	Summary: "the camera sends to where the viewer was first, and is busy with that for half a minute: a phone that changes its network sees black",
	Reason:  `no media came to the viewer|no whole frame`,
	Edits: []mutants.Edit{
		in("camera/viewer.go",
			"	v.use, v.newest = m.Sequence, max(v.newest, max(m.Next, 1)-1)\n",
			`	if faulty("first-address-for-ever") && v.nominated && path != v.path {
		return nil
	}
	v.use, v.newest = m.Sequence, max(v.newest, max(m.Next, 1)-1)
`), in("camera/doubt.go",
			"	there := punch.To(v.reflexive)\n",
			"	if faulty(\"first-address-for-ever\") {\n		return\n	}\n	there := punch.To(v.reflexive)\n"),
		in("camera/doubt.go",
			"	v.also, v.alsoUntil = also, now.Add(bothLife)\n",
			"	if faulty(\"first-address-for-ever\") {\n		return\n	}\n	v.also, v.alsoUntil = also, now.Add(bothLife)\n"),
		in("camera/doubt.go",
			"	v.askAgain()\n	if v.policy.Relay {\n",
			"	if faulty(\"first-address-for-ever\") {\n		return\n	}\n	v.askAgain()\n	if v.policy.Relay {\n"),
		busy("first-address-for-ever", "slices.ContainsFunc(c.viewers, func(v *viewer) bool { return v.key == req.Peer() && v.confirmed })")},
}, {
	Case: "NAT-10", Name: "asks-once", Role: "viewer",
	Summary: "what is lost of a handshake is not sent again: in a bad network one has to press the button until it works",
	Reason:  `no whole frame|the first whole frame came`,
	Edits: []mutants.Edit{in("uplink/greet.go",
		"	w.retry = now.Add(gap + l.jitter(gap/4))\n}\n",
		"	w.retry = now.Add(gap + l.jitter(gap/4))\n	if faulty(\"asks-once\") {\n		w.retry = now.Add(time.Hour)\n	}\n}\n"),
		in("viewer/attempt.go",
			"	a.again = now.Add(a.gap)\n",
			"	a.again = now.Add(a.gap)\n	if faulty(\"asks-once\") {\n		a.again = time.Time{}\n	}\n"),
		in("uplink/greet.go", // TCP would repeat it for everybody
			"		if w.round = true; len(w.addrs) == 0 {\n",
			"		if w.round = true; len(w.addrs) == 0 || i == streams && faulty(\"asks-once\") {\n"),
		in("adapter/viewer.go",
			"		case err != nil && refused == nil && !errors.Is(err, context.DeadlineExceeded):\n",
			"		case err != nil && (faulty(\"asks-once\") || refused == nil && !errors.Is(err, context.DeadlineExceeded)):\n")},
}}

// viewersPolicy changes what the camera wants of each new viewer.
func viewersPolicy(name, change string) mutants.Edit {
	const place = "	v.wished = v.policy\n"
	return in("camera/answer.go", place, "	if faulty(\""+name+"\") {\n		"+change+"\n	}\n"+place)
}

// busy has the camera refuse a viewer on a condition.
func busy(name, condition string) mutants.Edit {
	const place = "	case len(c.viewers)-c.unheard(req.Peer()) >= c.places(grant):\n"
	return in("camera/admit.go", place, "	case faulty(\""+name+"\") && "+condition+":\n		return refused(wire.CodeBusy, wire.CodeBusy)\n"+place)
}
