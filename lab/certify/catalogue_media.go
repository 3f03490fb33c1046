package certify

import "time"

func media() []Case {
	return []Case{{
		ID: "MED-1", Title: "The viewer gets what the camera sent", Level: Must,
		Origin: []Clause{rule("a picture that nobody took is worse than none")}, Since: first, Takes: time.Minute,
		Procedure: "A viewer watches for 30 s over a clean path, directly and, if the camera has one, by a relay.",
		Criterion: "Every frame that the camera's source gave out arrives byte for byte, in order, once.",
		Nonstrict: "the content cannot be compared (a black box), and as many media bytes arrive as were sent",
		Observed:  []Need{frames(300), packets(300)},
		Evidence:  []string{capture, records, counts},
	}, {
		ID: "MED-2", Title: "The first frame comes within the declared time", Level: Must, Bounds: []Bound{BoundFirstFrame},
		Origin: []Clause{rule("a declared bound is kept")}, Since: first, Takes: 3 * time.Minute,
		Procedure: "A viewer connects from cold again and again, over the broadband link, with a direct path.",
		Criterion: "The first whole frame arrives within the declared time of the request.",
		Observed:  []Need{connects(59), frames(59)}, Rate: 0.95,
		Evidence: []string{capture, timeline, records},
	}, {
		ID: "MED-3", Title: "Two percent of loss is survived", Level: Must, Bounds: []Bound{BoundFloor},
		Origin: []Clause{rule("access links lose packets")}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A viewer watches for a minute while 2 % of the packets each way are lost at random.",
		Criterion: "The session stays up, 95 % of the frames that the source gives in that time arrive whole, whatever the camera says that it sent, " +
			"no frame arrives damaged, and the rate does not fall below the declared floor.",
		Nonstrict: "the content cannot be compared (a black box), and by the viewer's count as many frames arrive",
		Observed:  []Need{frames(600), {"lost", "packets that the link lost", 20}},
		Evidence:  []string{capture, counts},
	}, {
		ID: "MED-4", Title: "Two percent of corrupted packets are survived", Level: Must, Bounds: []Bound{BoundFloor},
		Origin: []Clause{input}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A viewer watches for a minute while 2 % of the packets each way have bits flipped and their checksums made right again.",
		Criterion: "No damaged byte reaches the viewer as media, neither side ends, 90 % of the frames that the source gives in that time arrive " +
			"whole, whatever the camera says that it sent, and the rate does not fall below the declared floor.",
		Nonstrict: "the content cannot be compared (a black box), and by the viewer's count as many frames arrive",
		Observed:  []Need{frames(600), {"corrupted", "packets that the link corrupted", 20}},
		Evidence:  []string{capture, counts, outputs},
	}, {
		ID: "MED-5", Title: "Two seconds of nothing are survived", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{outages}, Since: first, Takes: 2 * time.Minute,
		Procedure: "In mid-stream every packet each way is dropped for 2 s, ten times.",
		Criterion: "Within the declared recovery after each, frames arrive again and go on to, half as many a second as before at least, " +
			"without the viewer asking for the camera anew.",
		Nonstrict: "the viewer asked anew, and frames came within the recovery",
		Observed:  []Need{frames(300), {"outages", "outages with media before and after", 10}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "MED-6", Title: "A path that swallows large packets is found out", Level: Must, Bounds: []Bound{BoundRecovery},
		Origin: []Clause{blackHole}, Since: first, Takes: 2 * time.Minute,
		Procedure: "In mid-stream, and another time before the connect, packets of more than 1,280 bytes vanish, with no ICMP to tell.",
		Criterion: "Within the declared recovery, frames arrive again and go on to, half as many a second as before at least, in smaller " +
			"packets.",
		Observed: []Need{frames(100), {"swallowed", "packets that the path swallowed, or none sent that large", 1}},
		Evidence: []string{capture, timeline, counts},
	}, {
		ID: "MED-7", Title: "A TCP flow beside it keeps its share", Level: Should, Bounds: []Bound{BoundFloor, BoundBitrate},
		Origin: []Clause{udpFairness}, Since: first, Takes: 3 * time.Minute,
		Procedure: "The camera's uplink is made half again as fast as its declared bitrate. A Cubic upload runs beside the stream for two minutes.",
		Criterion: "From the second half-minute on the upload has a third of the link at least, and the stream its floor.",
		Observed:  []Need{frames(600), {"beside", "bytes of the TCP flow", 1 << 20}},
		Evidence:  []string{capture, counts},
	}, {
		ID: "MED-8", Title: "Privacy mode gives nothing", Level: Conditional,
		Needs: []Feature{FeaturePrivacy}, Actions: []Action{ActionPrivacyOn, ActionPrivacyOff},
		Origin: []Clause{personal}, Since: first, Takes: 2 * time.Minute,
		Procedure: "Privacy mode is switched on in mid-stream. The viewer asks again, and so does one that was not there before.",
		Criterion: "Media stops within a second of the switch, and not a frame comes until the mode is off; then one does.",
		Observed:  []Need{frames(60), connects(10), {"after", "frames after the mode was off again", 1}},
		Evidence:  []string{capture, timeline, counts},
	}}
}

func pull() []Case {
	return []Case{{
		ID: "BW-1", Title: "No media leaves the camera when nobody watches", Level: Must, Bounds: []Bound{BoundIdle},
		Origin: []Clause{rule("media is pulled: the uplink is the owner's"), consentBefore}, Since: first, Takes: 15 * time.Minute,
		Procedure: "The camera is set up and idles; and again after a viewer has come and gone.",
		Criterion: "In no minute do more than 20 packets of 500 bytes or more leave the camera, and all its bytes keep the declared idle bound.",
		Observed:  []Need{seconds(600), packets(1)},
		Evidence:  []string{capture, counts},
	}, {
		ID: "BW-2", Title: "An idle camera's uplink keeps its bound", Level: Must, Bounds: []Bound{BoundIdle},
		Origin: []Clause{rule("a declared bound is kept")}, Since: first, Takes: time.Hour,
		Procedure: "The camera idles for an hour. Everything that it sends is counted, IP headers with it.",
		Criterion: "The bytes are the declared ones at most.",
		Observed:  []Need{seconds(3600), packets(1)},
		Evidence:  []string{capture, counts},
	}, {
		ID: "BW-3", Title: "Media stops within 30 seconds of the viewer's silence", Level: Must,
		Origin: []Clause{consentExpiry}, Since: first, Takes: 6 * time.Minute,
		Procedure: "In mid-stream the viewer vanishes without a word: its process is killed, its uplink goes, it stops and its NAT forgets it. Three " +
			"times each.",
		Criterion: "The camera's last media packet to it leaves within 30 s of the viewer's last packet.",
		Observed:  []Need{frames(90), {"silences", "viewers that fell silent in mid-stream", 9}},
		Evidence:  []string{capture, timeline},
	}, {
		ID: "BW-4", Title: "No media before authenticated consent", Level: Must,
		Origin: []Clause{consentBefore, unasked}, Since: first, Takes: 2 * time.Minute,
		Procedure: "Viewers with no credentials, wrong ones, or another camera's ask for media, by the server and at the camera's address; " +
			"a forger asks in a right viewer's name.",
		Criterion: "No media goes to any of them (up to five packets of 500 bytes or more an ask are a handshake's); a right viewer is " +
			"served before and after.",
		Observed: []Need{tries(299), {"accepted", "connects of a right viewer that got media", 1}}, Rate: 0.99, Absolute: true,
		Evidence: []string{capture, records},
	}, {
		ID: "BW-5", Title: "The camera sends what was asked for, and its declared overhead", Level: Must,
		Bounds: []Bound{BoundFrameOverhead, BoundBitrate},
		Origin: []Clause{rule("a declared bound is kept")}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A viewer watches for a minute, over a clean path and over one that loses 2 %.",
		Criterion: "The bytes that leave the camera, IP headers counted, are those of its frames and the declared share of them at most.",
		Nonstrict: "the frames cannot be counted (a black box), and the bytes keep its declared bitrate and that share",
		Observed:  []Need{frames(600), packets(600)},
		Evidence:  []string{capture, counts},
	}, {
		ID: "BW-6", Title: "The relay is idle while the direct path works", Level: Conditional, Needs: []Feature{FeatureRelay},
		Origin: []Clause{rule("a relay is paid for by the byte, and sees who watches whom")}, Since: first, Takes: 2 * time.Minute,
		Procedure: "A viewer watches for a minute over a path that is direct.",
		Criterion: "From 5 s after the first direct media packet no media goes by the relay, and no more than 1,000 bytes every 15 s, to keep it.",
		Observed:  []Need{frames(600), {"direct", "media packets that went directly", 300}},
		Evidence:  []string{capture, timeline, counts},
	}}
}
