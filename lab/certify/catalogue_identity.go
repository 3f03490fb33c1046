package certify

import "time"

// Files of a case's evidence folder.
const (
	capture  = "capture.pcapng" // every packet at every tap
	timeline = "timeline.txt"   // who sent what to whom, and when; timeline.svg is the same drawn
	records  = "records.jsonl"  // a line for each try
	counts   = "counts.json"    // what was observed
	outputs  = "program.log"    // what the vendor's programs printed
)

// Names of what is observed, with what they count where all cases mean the same.
func connects(n int) Need { return Need{"connects", "connects that a viewer asked for", n} }
func frames(n int) Need   { return Need{"frames", "frames that the camera sent", n} }
func tries(n int) Need    { return Need{"tries", "tries of the attack", n} }
func seconds(n int) Need  { return Need{"seconds", "seconds that were watched", n} }
func packets(n int) Need  { return Need{"packets", "packets of the camera in the capture", n} }
func registrations(n int) Need {
	return Need{"registrations", "registrations of the camera that the server took", n}
}

const first = "1.0" // the catalogue's first version

func identity() []Case {
	return []Case{{
		ID: "ID-1", Title: "The identifier cannot be guessed", Level: Conditional, Needs: []Feature{FeatureIdentifier},
		Origin: []Clause{guessedID}, Since: first, Units: 2, Takes: time.Minute,
		Procedure: "Two units are set up one after another. Their identifiers are compared with their MAC addresses, serial numbers and " +
			"each other, and the rule of one is tried on the other: sequence, MAC, known digest of either. An enumerator asks the server for " +
			"neighbours.",
		Criterion: "Neither identifier follows from a public fact or from the other's, both have room for 2^100 values at least, and no " +
			"neighbour is found.",
		Observed: []Need{{"identifiers", "identifiers that were compared", 2}, tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, records, counts},
	}, {
		ID: "ID-2", Title: "Registration proves that the camera has its key", Level: Conditional, Needs: []Feature{FeatureRegistration},
		Origin: []Clause{hijack}, Since: first, Takes: 2 * time.Minute,
		Procedure: "An impostor that knows the camera's identifier, addresses and every packet of an earlier registration, and not its key, " +
			"registers as the camera while it is offline.",
		Criterion: "No try is taken: no viewer that asks for the camera is sent to the impostor.",
		Observed:  []Need{registrations(1), tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "ID-3", Title: "No universal or blank password", Level: Conditional, Needs: []Feature{FeaturePassword},
		Origin: []Clause{ownPasswords}, Since: first, Units: 2, Takes: 2 * time.Minute,
		Procedure: "Two units, as delivered and after setup, are asked for media and configuration with no password, with a blank one, with " +
			"each of a list of common ones, and with the other's.",
		Criterion: "No try gets in. A unit as delivered may take its own password, if the other does not, or take none and give nothing " +
			"until one is set.",
		Observed: []Need{tries(100), {"accepted", "logins with the right password that were let in", 1}},
		Evidence: []string{capture, records},
	}, {
		ID: "ID-4", Title: "Guessing a secret is impracticable", Level: Must,
		Origin: []Clause{noGuessing}, Since: first, Takes: 5 * time.Minute,
		Procedure: "Wrong passwords, PINs, pairing codes or keys are tried as fast as the camera takes them, from one address and from " +
			"many, and the right one after them.",
		Criterion: "At the rate that the camera came to allow, 1 % of what may be tried takes a year at least; or the secret has 2^80 " +
			"values at least. The right one works within 15 minutes.",
		Observed: []Need{tries(299), {"accepted", "right secrets that were let in", 1}}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, records},
	}, {
		ID: "ID-5", Title: "No key is shared between units", Level: Must,
		Origin: []Clause{ownSecrets, sharedKey}, Since: first, Units: 2, Takes: time.Minute,
		Procedure: "Two units of one firmware are set up. Their public keys, certificates and key identifiers are read off the wire, and a " +
			"session of one is replayed to the other and tried with what is known of the first.",
		Criterion: "No key, certificate or pre-shared key identity is seen in both, and neither takes what was made for the other.",
		Observed:  []Need{{"handshakes", "handshakes of both units in the capture", 2}, tries(10)},
		Evidence:  []string{capture, records, counts},
	}, {
		ID: "ID-6", Title: "Reset and transfer end the old owner's access", Level: Conditional, Needs: []Feature{FeatureOwner},
		Origin: []Clause{erasure}, Since: first, Takes: 2 * time.Minute, Actions: []Action{ActionReset, ActionTransfer},
		Procedure: "The first owner's viewer watches, then the camera is reset; and again, then it is given to a second owner. The first " +
			"owner's viewer asks again with all that it has: pairing, tokens, addresses, a session that was open.",
		Criterion: "The open session ends within 30 s, no later try gets a byte of media or of the new owner's data, and the second owner's " +
			"viewer is served.",
		Observed: []Need{{"before", "connects of the first owner that worked beforehand", 2}, tries(20),
			{"after", "connects of the second owner that worked afterwards", 1}},
		Evidence: []string{capture, timeline, records},
	}}
}

func registration() []Case {
	needs := []Feature{FeatureRegistration}
	return []Case{{
		ID: "REG-1", Title: "A second registrant does not displace the holder", Level: Conditional, Needs: needs,
		Origin: []Clause{hijack}, Since: first, Takes: 2 * time.Minute,
		Procedure: "While the camera is registered, an impostor without its key registers under its identifier, from another address and, " +
			"off-path, from the camera's.",
		Criterion: "Every viewer that asks during and after the tries reaches the camera, and the impostor is told nothing that it could use.",
		Observed:  []Need{registrations(1), tries(299), connects(20)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "REG-2", Title: "A replayed registration is refused", Level: Conditional, Needs: needs,
		Origin: []Clause{hijack, rogue}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A middle records the camera's registrations and keepalives and sends them again: at once, after the camera moved to " +
			"another address, after it went offline, and after the server restarted; from its own address and from the camera's.",
		Criterion: "No replay changes where viewers are sent or whether the camera is said to be online.",
		Observed:  []Need{registrations(2), tries(299)}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "REG-3", Title: "The camera registers again after its NAT has given it another port or address", Level: Conditional, Needs: needs,
		Bounds: []Bound{BoundKeepalive, BoundRecovery},
		Origin: []Clause{migration}, Since: first, Takes: 3 * time.Minute,
		Procedure: "The camera's router forgets its mappings, and later gets another external address. A viewer asks again and again.",
		Criterion: "After each change a connect succeeds within a keepalive and the declared recovery. (RFC 9000 is not the camera's " +
			"protocol: by analogy.)",
		Observed: []Need{registrations(1), {"rebinds", "changes of the camera's mapping that the capture shows", 2},
			connects(2)},
		Evidence: []string{capture, timeline},
	}, {
		ID: "REG-4", Title: "An offline camera is known to be so within two keepalives", Level: Conditional, Needs: needs,
		Bounds: []Bound{BoundKeepalive},
		Origin: []Clause{rule("a viewer is not kept waiting for a camera that is gone")}, Since: first, Takes: 3 * time.Minute,
		Actions:   []Action{ActionPower},
		Procedure: "The camera's power is cut; another time its uplink. A viewer asks every second.",
		Criterion: "Within two declared keepalives, and ever after, the viewer is told that the camera is offline, or gets the same answer " +
			"as for an unknown one.",
		Nonstrict: "it is known within three keepalives",
		Observed:  []Need{registrations(1), {"losses", "times that the camera went offline", 2}, connects(2)},
		Evidence:  []string{capture, timeline, records},
	}, {
		ID: "REG-5", Title: "Keepalives are 15 seconds apart or more", Level: Conditional, Needs: needs, Bounds: []Bound{BoundKeepalive},
		Origin: []Clause{udpKeepalive, iceKeepalive}, Since: first, Takes: 10 * time.Minute,
		Procedure: "The camera idles behind a router whose UDP mappings live for two minutes. Its packets to its servers are counted; those " +
			"within a second are one keepalive.",
		Criterion: "The mean distance of keepalives is 15 s at least, and a tenth more than the declared one at most.",
		Observed:  []Need{{"keepalives", "keepalives in the capture", 10}, seconds(600)},
		Evidence:  []string{capture, counts},
	}, {
		ID: "REG-6", Title: "A mass of cameras reconnects spread over time", Level: Should, Needs: needs,
		Origin: []Clause{orderly}, Since: first, Units: 20, Takes: 3 * time.Minute,
		Procedure: "Many units are registered; the server is gone for a minute and comes back.",
		Criterion: "No more than half of the first registrations come within any second, each unit's next tries are further and " +
			"further apart, and all are registered within two minutes.",
		Observed: []Need{{"units", "units that registered before and after", 20}},
		Evidence: []string{capture, counts},
	}}
}
