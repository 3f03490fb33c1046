package certify

// Clauses, each written once. Where the words of a verified one were read:
//
//	RFC 4787, RFC 6888   two or more public transcriptions of their requirements that agree (the RFCs' own text was not at hand)
//	RFC 5769             its abstract, at ietf.org
//	RFC 7675             the RFC's text, as kept by shinyoshiaki/werift-webrtc
//	RFC 8445             the RFC's text, as kept by Zhichao-Yan/RFC8445--
//	RFC 8899             the RFC's text, as kept by aws/s2n-quic
//	RFC 9000             the RFC's text, as kept by quicwg/base-drafts
//	EN 303 645 V2.1.1    two public transcriptions of its provisions that agree; ETSI's own file was not at hand
//	CVE records          CVEProject/cvelistV5
//	Akamai               the post on akamai.com/blog
var (
	natMapping = read("RFC 4787", "§4.1, REQ-1", `A NAT MUST have an "Endpoint-Independent Mapping" behavior.`)
	natTimer   = read("RFC 4787", "§4.3, REQ-5", "A NAT UDP mapping timer MUST NOT expire in less than two minutes, unless REQ-5a applies.")
	natHairpin = read("RFC 4787", "§6, REQ-9", `A NAT MUST support "Hairpinning".`)
	natCarrier = read("RFC 6888", "REQ-1",
		"If a CGN forwards packets containing a given transport protocol, then it MUST fulfill that transport protocol's behavioral "+
			"requirements.")

	stunVectors = read("RFC 5769", "abstract", "This document provides test vectors for those attributes.")

	consentExpiry = read("RFC 7675", "§5.1", "Consent expires after 30 seconds.")
	consentBefore = read("RFC 7675", "§5.1",
		"An endpoint MUST NOT send data other than the messages used to establish consent unless the receiving endpoint has consented "+
			"to receive data.")
	consentJitter = read("RFC 7675", "§5.1",
		"each interval MUST be randomized from between 0.8 and 1.2 times the basic period")
	consentPeriod = read("RFC 7675", "§5.1", "Implementations MUST NOT set the period between checks to less than 4 seconds.")

	udpKeepalive = unread("RFC 8085", "§3.5", "keepalives are not sent more often than every 15 seconds, and longer intervals are better")
	udpFairness  = unread("RFC 8085", "§3.1", "bulk transfer over UDP backs off as TCP does when the path is congested")

	iceKeepalive = read("RFC 8445", "§11", "Agents MAY use a bigger value but MUST NOT use a value smaller than 15 seconds.")
	icePairs     = read("RFC 8445", "§6.1.2.5", "The default limit of candidate pairs for the checklist set is 100, but the value MUST "+
		"be configurable.")
	icePacing = read("RFC 8445", "§14.2",
		"the combination of all transactions from all agents (if a given implementation runs several concurrent agents) "+
			"MUST NOT be sent more often than once every 5 ms")
	iceHammer = read("RFC 8445", "§19.5.1", "ICE agents SHOULD limit the total number of connectivity checks they perform to 100.")

	blackHole = read("RFC 8899", "§4.3",
		"A validated PTB message can be received that indicates a PL_PTB_SIZE less than the current PLPMTU. A DPLPMTUD method MUST NOT "+
			"rely solely on this method.")
	probeLoss = read("RFC 8899", "§3",
		"The PL is REQUIRED to be robust in the case where probe packets are lost due to other reasons (including link transmission "+
			"error, congestion).")

	validation = read("RFC 9000", "§8.1",
		"Prior to validating the client address, servers MUST NOT send more than three times as many bytes as the number of bytes they "+
			"have received.")
	migration = read("RFC 9000", "§9.3",
		"If the recipient permits the migration, it MUST send subsequent packets to the new peer address and MUST initiate path validation")

	ownPasswords = read(etsi, "5.1-1",
		"Where passwords are used and in any state other than the factory default, all consumer IoT device passwords shall be unique per "+
			"device or defined by the user.")
	noGuessing = read(etsi, "5.1-5", "attacks on authentication mechanisms via network interfaces impracticable")
	updateAuth = read(etsi, "5.3-10",
		"Where updates are delivered over a network interface, the device shall verify the authenticity and integrity of each update via a "+
			"trust relationship.")
	ownSecrets = read(etsi, "5.4-4",
		"Any critical security parameters used for integrity and authenticity checks of software updates and for protection of "+
			"communication with associated services in device software shall be unique per device")
	configAuth = read(etsi, "5.5-5",
		"Device functionality that allows security-relevant changes in configuration via a network interface shall only be accessible "+
			"after authentication.")
	keptSecret = read(etsi, "5.5-7",
		"The consumer IoT device shall protect the confidentiality of critical security parameters that are communicated via remotely "+
			"accessible network interfaces.")
	closedPorts = read(etsi, "5.6-1", "All unused network and logical interfaces shall be disabled.")
	fewWords    = read(etsi, "5.6-2",
		"In the initialized state, the network interfaces of the device shall minimize the unauthenticated disclosure of "+
			"security-relevant information.")
	personal = read(etsi, "5.8-2",
		"The confidentiality of sensitive personal data communicated between the device and associated services shall be protected")
	outages = read(etsi, "5.9-1",
		"Resilience should be built in to consumer IoT devices and services, taking into account the possibility of outages of data "+
			"networks and power.")
	localWork = read(etsi, "5.9-2",
		"Consumer IoT devices should remain operating and locally functional in the case of a loss of network access and should recover "+
			"cleanly in the case of restoration of a loss of power.")
	orderly = read(etsi, "5.9-3",
		"The consumer IoT device should connect to networks in an expected, operational and stable state and in an orderly fashion, "+
			"taking the capability of the infrastructure into consideration")
	erasure = read(etsi, "5.11-1",
		"The user shall be provided with functionality such that user data can be erased from the device in a simple manner.")
	input = read(etsi, "5.13-1",
		"The consumer IoT device software shall validate data input via user interfaces or transferred via Application Programming "+
			"Interfaces (APIs) or between networks in services and devices.")

	guessedID = read("CVE-2019-11219", "",
		"The algorithm used to generate device IDs (UIDs) for devices that utilize Shenzhen Yunni Technology iLnkP2P suffers from a "+
			"predictability flaw that allows remote attackers to establish direct connections to arbitrary devices.")
	clearText = read("CVE-2019-11220", "",
		"An authentication flaw in Shenzhen Yunni Technology iLnkP2P allows remote attackers to actively intercept user-to-device traffic "+
			"in cleartext, including video streams and device credentials.")
	openRelay = read("CVE-2020-26262", "", "Coturn then is able to relay packets to the loopback interface.")
	hijack    = read("CVE-2021-28372", "",
		"ThroughTek's Kalay Platform 2.0 network allows an attacker to impersonate an arbitrary ThroughTek (TUTK) device given a valid "+
			"20-byte uniquely assigned identifier (UID).")
	credentials = read("CVE-2021-28372", "",
		"This could result in an attacker hijacking a victim's connection and forcing them into supplying credentials needed to access "+
			"the victim TUTK device.")
	obfuscated = read("CVE-2021-32934", "",
		"do not sufficiently protect data transferred between the local device and ThroughTek servers.")
	bypass = read("CVE-2021-33044", "", "Attackers can bypass device identity authentication by constructing malicious data packets.")
	rogue  = read("CVE-2023-6323", "",
		"ThroughTek Kalay SDK does not verify the authenticity of received messages, allowing an attacker to impersonate an "+
			"authoritative server.")
	sharedKey = read("CVE-2023-6324", "",
		"ThroughTek Kalay SDK uses a predictable PSK value in the DTLS session when encountering an unexpected PSK identity")
	unasked = read("CVE-2026-30784", "", "Servers Broker Connections Without Any Authorization Check")

	discovery = read("Akamai SIRT, 18 September 2019", "WS-Discovery",
		"the SIRT was able to achieve amplification rates of up to 15,300% of the original byte size")
)

const etsi = "EN 303 645 V2.1.1"

// thisSuite is the origin of what no other document asks for.
const thisSuite = "this suite"

func read(document, clause, quote string) Clause { return Clause{document, clause, quote, true} }

func unread(document, clause, says string) Clause { return Clause{document, clause, says, false} }

// rule is what this suite asks for itself.
func rule(says string) Clause { return Clause{thisSuite, "", says, true} }
