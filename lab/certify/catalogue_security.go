package certify

import "time"

func security() []Case {
	return []Case{{
		ID: "SEC-1", Title: "Who has not shown where they are gets no more than they sent", Level: Must,
		Origin: []Clause{validation}, Since: first, Takes: 3 * time.Minute,
		Procedure: "Every datagram that may begin something (registration, connect, probe, search, relay) is sent in a third party's name " +
			"to camera, rendezvous and relay: well-formed, captured, cut short, padded. The bytes that go to the third party are counted " +
			"for each datagram, IP headers with them.",
		Criterion: "No datagram draws more bytes than it has, answers that are sent again counted; the system's ICMP error of a closed port, " +
			"which quotes it, no more than three times as many.",
		Nonstrict: "no datagram draws more than three times its bytes",
		Observed:  []Need{tries(299), {"messages", "types of message that were tried", 3}}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, records, counts},
	}, {
		ID: "SEC-2", Title: "A forged address draws few packets", Level: Must,
		Origin: []Clause{iceHammer, unasked, rule("what is a SHOULD for agents of ICE is asked of every protocol, as a must")},
		Since:  first, Takes: 3 * time.Minute,
		Procedure: "A right viewer, and one without credentials, has fifty of a third party's addresses on its own host, so that it names " +
			"them as its own; and viewers' questions are sent again from fifty of them.",
		Criterion: "No more than 100 packets go to the third party for a connect, none of them media, and none 30 s later.",
		Observed:  []Need{tries(59), {"drawn", "packets that went to the third party, or tries that were refused", 1}}, Rate: 0.95, Absolute: true,
		Evidence: []string{capture, timeline, counts},
	}, {
		ID: "SEC-3", Title: "An impostor camera captures no credential that can be used again", Level: Must,
		Origin: []Clause{credentials, clearText, rogue}, Since: first, Takes: 3 * time.Minute,
		Procedure: "Viewers are led to an impostor: by a server that lies, by DNS, by a false address, by a race in the LAN. It asks for " +
			"logins, by Basic and by Digest authentication, keeps all that they send, and a second attacker logs in with it.",
		Criterion: "No try with what was captured gets in, neither at once nor after the right owner has watched in between.",
		Observed:  []Need{{"lured", "viewers that spoke to the impostor", 59}, tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, records},
	}, {
		ID: "SEC-4", Title: "Who sits on the path reads nothing and alters nothing", Level: Must,
		Origin: []Clause{clearText, obfuscated, keptSecret}, Since: first, Takes: 5 * time.Minute,
		Procedure: "A middle sees all packets of registration, connect and stream: it looks for the source's bytes, key material and names, " +
			"plain or under fixed-key obfuscation; it flips, drops, delays, replays, reorders; it strips what is offered, to have less agreed on.",
		Criterion: "No known byte of media or secret is found, the payload's bytes cannot be told from random ones, no altered byte is " +
			"taken as media, and nothing weaker is agreed on.",
		Observed: []Need{frames(300), packets(300), tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, timeline, records, counts},
	}, {
		ID: "SEC-5", Title: "A malicious relay learns nothing and reaches nobody else", Level: Conditional, Needs: []Feature{FeatureRelay},
		Origin: []Clause{personal, openRelay}, Since: first, Takes: 3 * time.Minute,
		Procedure: "A relay keeps and alters what passes, and answers for the camera. Then the vendor's own relay, if there is one, is " +
			"asked for loopback, private and link-local addresses.",
		Criterion: "At the relay no known byte of media or secret is found, the payload's bytes cannot be told from random ones, and nothing " +
			"that was altered there, or answered in the camera's place, is taken as media; the relay agrees to no such address, and no packet " +
			"goes there.",
		Observed: []Need{frames(100), {"relayed", "media packets that went by the relay", 100}, tries(59)}, Rate: 0.95, Absolute: true,
		Evidence: []string{capture, timeline, records, counts},
	}, {
		ID: "SEC-6", Title: "Unknown and offline cameras cannot be told apart, and asking is throttled", Level: Conditional,
		Needs:  []Feature{FeatureIdentifier},
		Origin: []Clause{guessedID, fewWords}, Since: first, Takes: 5 * time.Minute,
		Procedure: "Someone without rights asks for identifiers that no camera has, that offline ones have, and that online ones have, in a " +
			"random order, and times the answers; then as fast as possible.",
		Criterion: "Answers are equal in bytes and packets, and their times do not differ (Kolmogorov–Smirnov, p > 0.001); from one address " +
			"no more than 10 a second are answered in the long run.",
		Observed: []Need{tries(299), {"answers", "answers or silences that were compared", 299}},
		Evidence: []string{capture, records, counts},
	}, {
		ID: "SEC-7", Title: "Replayed signalling does nothing", Level: Conditional, Needs: []Feature{FeatureRegistration},
		Origin: []Clause{rogue}, Since: first, Takes: 3 * time.Minute,
		Procedure: "A whole session's signalling is recorded. Each message is sent again, to each party, in its sender's name and another's, " +
			"in mid-stream, after the session, and after a restart of the camera.",
		Criterion: "No replay starts media, ends or moves a session, or has the camera send a packet to whom the replay names.",
		Observed:  []Need{{"messages", "messages that were recorded", 5}, tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "SEC-8", Title: "Configuration needs authentication", Level: Conditional, Needs: []Feature{FeatureConfiguration},
		Origin: []Clause{configAuth, bypass}, Since: first, Takes: 2 * time.Minute,
		Procedure: "Each way to configure the camera that the vendor names (configuration.json), and those that cameras are known for " +
			"(HTTP, RTSP, ONVIF, telnet), is tried without credentials, with wrong ones, and with the steps in another order.",
		Criterion: "Nothing is changed and no setting is given out; with the right credentials a change takes effect.",
		Observed:  []Need{tries(50), {"accepted", "changes with the right credentials that took effect", 1}},
		Evidence:  []string{capture, records},
	}, {
		ID: "SEC-9", Title: "The open ports are those declared", Level: Must, Bounds: []Bound{BoundPorts},
		Origin: []Clause{closedPorts}, Since: first, Takes: 5 * time.Minute,
		Procedure: "All 65,535 TCP and UDP ports of the camera's address in its LAN are scanned, idle and in mid-stream; UDP with probes of " +
			"the protocols that cameras are known for.",
		Criterion: "Those that take a connection or answer are the declared ones; none is missing. Ports of its own outgoing flows are no " +
			"open ports.",
		Nonstrict: "a declared port is closed",
		Observed:  []Need{{"ports", "ports that were scanned", 2 * 65535}, {"media", "media packets that came to a viewer during the second scan", 300}},
		Evidence:  []string{capture, counts},
	}, {
		ID: "SEC-10", Title: "No answer to searches from the Internet", Level: Must,
		Origin: []Clause{discovery}, Since: first, Takes: 2 * time.Minute,
		Procedure: "WS-Discovery, SSDP, mDNS and the searches that cameras are known for are sent from outside: to the camera's forwarded " +
			"or mapped ports, and to one that has a public address.",
		Criterion: "No datagram is answered. That its system refuses one by ICMP is no answer.",
		Observed:  []Need{tries(299), {"arrived", "searches that arrived at the camera", 1}}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, counts},
	}, {
		ID: "SEC-11", Title: "A storm of malformed datagrams changes nothing", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{input}, Since: first, Takes: 3 * time.Minute,
		Procedure: "In mid-stream datagrams are sent to every flow's ports, in the peers' names: random, cut, grown and changed copies of " +
			"real ones. Where TCP connections are taken, or declared, a stranger opens many, and says nothing on them, noise, such copies of " +
			"what viewers begin with, requests and headers without an end, and false lengths.",
		Criterion: "No program ends, no damaged frame is shown, the stream goes on or is back within the declared recovery, and a new " +
			"connect succeeds.",
		Observed: []Need{{"malformed", "malformed datagrams, and beginnings of TCP connections, that arrived", 10000}, frames(100), connects(1)},
		Evidence: []string{capture, outputs, counts},
	}, {
		ID: "SEC-12", Title: "An unsigned update is refused", Level: Conditional,
		Needs: []Feature{FeatureUpdate}, Actions: []Action{ActionUpdate},
		Origin: []Clause{updateAuth}, Since: first, Takes: 3 * time.Minute,
		Procedure: "The update server offers the vendor's own image with a byte changed, cut short, unsigned, signed by another, and an " +
			"older one; then the right one, and the older one again. What runs is what the camera says after its power was cut.",
		Criterion: "None but the right one is installed, and the camera works after each.",
		Observed:  []Need{{"offers", "images that the camera fetched or was told of", 5}, {"accepted", "right images that were installed", 1}},
		Evidence:  []string{capture, outputs, records},
	}}
}
