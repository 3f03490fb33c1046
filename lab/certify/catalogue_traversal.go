package certify

import "time"

func traversal() []Case {
	return []Case{{
		ID: "NAT-1", Title: "Every pair of NATs that permits a direct path gets one", Level: Must,
		Origin: []Clause{natMapping}, Since: first, Takes: 10 * time.Minute,
		Procedure: "Camera and viewer connect twice behind every pair of the nine mapping and filtering behaviours of RFC 4787. Each NAT " +
			"proves its behaviour first.",
		Criterion: "Where the lab's oracle says that a direct path is possible without guessing ports, media goes past all servers within 10 s " +
			"of the first frame; elsewhere it comes by the relay that the camera declares. Of no pair both tries fail.",
		Nonstrict: "pairs with two endpoint-dependent mappings go by a relay, though they could go directly",
		Observed:  []Need{connects(59), frames(59), {"pairs", "pairs of NATs that were tried", 45}}, Rate: 0.95,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "NAT-2", Title: "Two symmetric NATs: by a relay, within the declared time", Level: Conditional, Needs: []Feature{FeatureRelay},
		Bounds: []Bound{BoundRelayFrame},
		Origin: []Clause{natMapping}, Since: first, Takes: 3 * time.Minute,
		Procedure: "Both sides are behind NATs with address and port-dependent mapping and filtering and random ports.",
		Criterion: "The first whole frame arrives within the declared time; how it went is read from the flows.",
		Observed:  []Need{connects(59), frames(59)}, Rate: 0.95,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "NAT-3", Title: "Behind a home router behind a carrier's NAT", Level: Must,
		Origin: []Clause{natCarrier}, Since: first, Takes: 3 * time.Minute,
		Procedure: "The camera, then the viewer, then both are behind a home router whose uplink is behind a carrier-grade NAT; once behind " +
			"the same one.",
		Criterion: "Where the oracle says that a direct path is possible media goes directly; elsewhere it goes by the relay that the " +
			"camera declares.",
		Observed: []Need{connects(59), frames(59)}, Rate: 0.95,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "NAT-4", Title: "Neighbours stay local", Level: Must,
		Origin: []Clause{natHairpin}, Since: first, Takes: 2 * time.Minute,
		Procedure: "Camera and viewer are in one LAN, behind a router that hairpins and behind one that does not.",
		Criterion: "Media does not leave the site: none on the router's uplink from 5 s after the first frame on.",
		Nonstrict: "media is turned round by the router (hairpinning), and does not leave it",
		Observed:  []Need{connects(4), frames(60)},
		Evidence:  []string{capture, timeline, counts},
	}, {
		ID: "NAT-5", Title: "IPv6 alone", Level: Conditional, Needs: []Feature{FeatureIPv6}, Bounds: []Bound{BoundFirstFrame},
		Origin: []Clause{rule("networks without IPv4 exist")}, Since: first, Takes: 2 * time.Minute,
		Procedure: "No site and no server has IPv4. Both sites have stateful IPv6 firewalls.",
		Criterion: "Media goes directly, the first frame within the declared time.",
		Observed:  []Need{connects(10), frames(60)},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "NAT-6", Title: "UDP is blocked: by TCP 443", Level: Conditional, Needs: []Feature{FeatureTCPFallback},
		Origin: []Clause{rule("guest networks let nothing out but the web")}, Since: first, Takes: 2 * time.Minute,
		Procedure: "The viewer's, then the camera's, then both sides' networks let out nothing but TCP 443, which is tried first.",
		Criterion: "Media flows within 10 s of the request.",
		Nonstrict: "media flows within 30 s",
		Observed:  []Need{connects(6), frames(60), {"blocked", "networks that let nothing else out", 2}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "NAT-7", Title: "Mappings that live for 30 seconds are kept", Level: Conditional, Needs: []Feature{FeatureRegistration},
		Origin: []Clause{natTimer}, Since: first, Takes: 10 * time.Minute,
		Procedure: "The camera's router forgets UDP mappings after 30 s of silence. The camera idles for eight minutes, and a viewer asks " +
			"now and then; then it watches, with nothing to send of its own.",
		Criterion: "Every connect succeeds, and the stream is not cut by a mapping that was let go. (Mappings should live for two minutes; " +
			"many don't.)",
		Observed: []Need{connects(8), frames(60), seconds(480)},
		Evidence: []string{capture, timeline},
	}, {
		ID: "NAT-8", Title: "Another port in mid-stream", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{migration}, Since: first, Takes: 3 * time.Minute,
		Procedure: "In mid-stream the camera's router, then the viewer's, gives the flow another external port. Ten times each. Then a third " +
			"party sends copies of what the viewer sends, which arrive before the viewer's own (RFC 9000 §9.3.1).",
		Criterion: "Whole frames arrive again within the declared recovery, and nothing is sent to an address that was not validated but " +
			"what validates it: 1,200 bytes, or three times what came from there (RFC 9000 §8.1). Who has answered the camera, or a server of " +
			"its maker, is validated.",
		Nonstrict: "the viewer asked for the camera anew, and frames came within the recovery",
		Observed:  []Need{frames(300), {"rebinds", "changes of a mapping that the capture shows in mid-stream", 20}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "NAT-9", Title: "Another address in mid-stream", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{migration}, Since: first, Takes: 3 * time.Minute,
		Procedure: "In mid-stream the camera's router, then the viewer's, gets another external address. Ten times each. Then a third party as " +
			"in NAT-8.",
		Criterion: "As in NAT-8.",
		Nonstrict: "the viewer asked for the camera anew, and frames came within the recovery",
		Observed:  []Need{frames(300), {"rebinds", "changes of an address that the capture shows in mid-stream", 20}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "NAT-10", Title: "A handshake that loses 30 percent", Level: Must,
		Origin: []Clause{probeLoss}, Since: first, Takes: 5 * time.Minute,
		Procedure: "From the request to the first frame 30 % of all packets each way are lost.",
		Criterion: "Media flows within 15 s of the request. (RFC 8899 is about probes for packet sizes: by analogy.)",
		Observed:  []Need{connects(59), frames(59), {"lost", "packets that the links lost", 59}}, Rate: 0.95,
		Evidence: []string{capture, timeline, records},
	}}
}
