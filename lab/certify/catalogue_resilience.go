package certify

import "time"

func resilience() []Case {
	return []Case{{
		ID: "RES-1", Title: "The LAN works without the Internet", Level: Should, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{localWork}, Since: first, Takes: 3 * time.Minute,
		Procedure: "The site's uplink goes in mid-stream of a viewer in the LAN; then that viewer, which has watched before, connects anew " +
			"without it.",
		Criterion: "The stream goes on, and the connect succeeds within the declared recovery.",
		Nonstrict: "the stream goes on, and no new connect succeeds until the uplink is back",
		Observed:  []Need{frames(100), connects(2), {"outages", "outages of the uplink", 1}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "RES-2", Title: "A hundred power cuts", Level: Must, Bounds: []Bound{BoundRecovery}, Actions: []Action{ActionPower},
		Origin: []Clause{localWork}, Since: first, Takes: 30 * time.Minute,
		Procedure: "The camera's power is cut at random moments, in start, idle and stream, and comes back a second later.",
		Criterion: "After each it is the same camera (identity, owner, settings) and a connect succeeds within the declared recovery.",
		Observed:  []Need{{"cuts", "power cuts after which the camera was asked for", 100}, frames(100)}, Rate: 0.95, Absolute: true,
		Evidence: []string{capture, outputs, records},
	}, {
		ID: "RES-3", Title: "Kill, pause, partition, clock jump", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{outages}, Since: first, Takes: 10 * time.Minute,
		Procedure: "Server, then camera, is killed and started again, stopped for 10 s, and cut off for a minute, idle and in mid-stream. A " +
			"camera that asks the lab's NTP is told a year later when it starts, and the true time at the start after that.",
		Criterion: "Without a hand a connect succeeds within the declared recovery after each; no fault lets in who was not let in before.",
		Nonstrict: "some of it could not be done: the clock of a camera that asks no NTP cannot be set, and a black box cannot be stopped",
		Observed:  []Need{{"faults", "faults with a working connect before them", 8}, frames(100)},
		Evidence:  []string{capture, timeline, outputs},
	}, {
		ID: "RES-4", Title: "Viable under a flood", Level: Must, Bounds: []Bound{BoundFirstFrame},
		Origin: []Clause{outages}, Since: first, Takes: 5 * time.Minute,
		Procedure: "Handshakes that look right, TCP's where connections are what is taken, come from spoofed addresses, bounded in rate, at " +
			"the camera's port and, if the vendor brings one, at the server. A right viewer connects again and again.",
		Criterion: "Connects succeed, their 99th percentile is twice that of idle at most (100 ms granted), and the programs' memory grows by a " +
			"tenth at most (4 MiB granted).",
		Nonstrict: "connects succeed in time, and the memory of a black box cannot be seen",
		Observed:  []Need{{"flood", "packets of the flood that arrived", 10000}, connects(299), frames(299)}, Rate: 0.99,
		Evidence: []string{capture, records, counts},
	}, {
		ID: "RES-5", Title: "Hours of work", Level: Should, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{outages}, Since: first, Takes: 8 * time.Hour,
		Procedure: "Viewers come and go for eight hours, every other one without a word, over links and addresses that change.",
		Criterion: "Connects succeed to the end, within the declared recovery, and memory (a tenth or 4 MiB granted), open files (4 granted) and " +
			"processes (1 granted) do not grow from the second hour to the eighth.",
		Nonstrict: "connects succeed, and what a black box holds cannot be seen",
		Observed:  []Need{seconds(8 * 3600), connects(299), frames(10000)}, Rate: 0.99,
		Evidence: []string{records, outputs, counts},
	}}
}

func standards() []Case {
	return []Case{{
		ID: "STD-1", Title: "STUN messages are those of RFC 5769", Level: Conditional, Needs: []Feature{FeatureSTUN},
		Origin: []Clause{stunVectors}, Since: first, Takes: time.Minute,
		Procedure: "The camera's STUN messages are read off the wire. Its port is asked with the RFC's sample request, changed to fit, with " +
			"FINGERPRINT and MESSAGE-INTEGRITY right and wrong.",
		Criterion: "Every attribute that the RFC has vectors for verifies; what is wrong is not answered with success.",
		Nonstrict: "MESSAGE-INTEGRITY is there, and nobody but camera and viewer has its keys to verify it by",
		Observed:  []Need{{"stun", "STUN messages of the camera", 10}},
		Evidence:  []string{capture, counts},
	}, {
		ID: "STD-2", Title: "Consent checks are 0.8 to 1.2 of their period apart", Level: Conditional, Needs: []Feature{FeatureConsent},
		Origin: []Clause{consentJitter, consentPeriod}, Since: first, Takes: 10 * time.Minute,
		Procedure: "A viewer watches for eight minutes. The camera's consent checks, binding requests on the way of its media, are read off the " +
			"wire.",
		Criterion: "No two are less than 4 s apart, all distances are within 0.8 and 1.2 of their middle (50 ms granted), and they are not " +
			"all equal.",
		Observed: []Need{{"checks", "consent checks of the camera", 60}},
		Evidence: []string{capture, counts},
	}, {
		ID: "STD-3", Title: "Connectivity checks are capped and paced", Level: Conditional, Needs: []Feature{FeatureICE},
		Origin: []Clause{icePairs, icePacing}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A viewer asks whose host has 200 addresses more, at none of which anybody is reached, so that it has as many candidates to " +
			"offer; and another time without them. The camera's checks are read off the wire.",
		Criterion: "The camera tries 100 pairs at most, and no two of its checks, repetitions aside, are less than 5 ms apart (1 ms granted).",
		Observed:  []Need{{"checks", "connectivity checks of the camera", 20}},
		Evidence:  []string{capture, counts},
	}}
}
