package mutants

// inCamera are faults of a camera.
var inCamera = []Mutant{
	{
		Name: "key-frame-delayed", Part: Camera, Job: "punch", Metric: "first_frame_ratio.p50",
		Summary: "the first picture waits until the viewer has answered: black for a round trip longer",
		File:    "impl/camera/answer.go",
		Find:    "if v.stream.wanted && v.path.Route != 0 {",
		Replace: "if v.stream.wanted && v.path.Route == punch.Direct {",
	},
	{
		Name: "relay-chosen-first", Part: Camera, Job: "far", Metric: "first_frame_ratio.p50",
		Summary: "the first flight goes by the relay alone, though the direct way is the shortest",
		File:    "impl/camera/answer.go",
		Find:    "direct = !v.agent.Silent() && (v.agent.Meets() || !v.policy.Relay)",
		Replace: "direct = !v.policy.Relay",
	},
	{
		Name: "relay-never-left", Part: Camera, Job: "punch", Metric: "bytes.relay.p50",
		Summary: "the camera stays on the relay whatever the viewer asks for: the operator pays for all video",
		File:    "impl/camera/viewer.go",
		Find:    "v.moveTo(now, path, m.Next)",
		Replace: `if v.path.Route == punch.Relay {
		path = v.path
	}
	v.moveTo(now, path, m.Next)`,
	},
	{
		Name: "consent-ignored", Part: Camera, Job: "asleep", Metric: "bytes.camera_up.p50",
		Summary: "the camera sends on to a viewer that has been gone for half a minute, and floods who has its address next",
		File:    "impl/camera/camera.go",
		Find:    "consentLimit = 30 * time.Second",
		Replace: "consentLimit = 30 * time.Minute",
	},
	{
		Name: "nack-ignored", Part: Camera, Job: "loss", Metric: "intact_rate",
		Summary: "what a viewer asks for again is not sent again: the picture breaks at each loss",
		File:    "impl/camera/stream.go",
		Find:    "v.resendTo(v.path, v.stream.affordable(now, f.Resend))",
		Replace: "v.resendTo(v.path, v.stream.affordable(now, f.Resend)[:0])",
	},
	{
		Name: "resend-by-wrong-path", Part: Camera, Job: "loss", Metric: "intact_rate",
		Summary: "what is asked for again goes the direct way, though the video goes by the relay",
		File:    "impl/camera/stream.go",
		Find:    "v.resendTo(v.path, v.stream.affordable(now, f.Resend))",
		Replace: "v.resendTo(punch.To(v.reflexive), v.stream.affordable(now, f.Resend))",
	},
	{
		Name: "history-short", Part: Camera, Job: "loss", Metric: "intact_rate",
		Summary: "too little is kept to be sent again: a loss that is reported late is a loss",
		File:    "impl/camera/camera.go",
		Find:    "history      = 1024 ",
		Replace: "history      = 8 ",
	},
	{
		Name: "duplicate-sends", Part: Camera, Job: "punch", Metric: "bytes.camera_up.p50",
		Summary: "every packet of the video leaves twice: double upstream",
		File:    "impl/camera/pace.go",
		Find: `for _, path := range paths[:n] {
			v.sendMedia(path, p.out)`,
		Replace: `for _, path := range paths[:n] {
			v.sendMedia(path, p.out)
			v.sendMedia(path, p.out)`,
	},
	{
		Name: "both-paths-for-ever", Part: Camera, Job: "punch", Metric: "bytes.relay.p50",
		Summary: "the video goes on by the relay too when a direct path is in use",
		File:    "impl/camera/doubt.go",
		Find: `if v.also.Route != 0 && v.also != v.path && now.Before(v.alsoUntil) {
		paths[1], n = v.also, 2`,
		Replace: `if v.policy.Relay && v.path.Route == punch.Direct {
		paths[1], n = punch.ViaRelay, 2`,
	},
	{
		Name: "replay-from-start", Part: Camera, Job: "outage", Metric: "bytes.camera_up.p50",
		Summary: "after an outage all is sent again from the first picture on",
		File:    "impl/camera/stream.go",
		Find:    "*r = replay{path: path, at: seq, last: last,",
		Replace: "*r = replay{path: path, at: 0, last: last,",
	},
	{
		Name: "replay-missing", Part: Camera, Job: "outage", Metric: "gap_s.p50",
		Summary: "what was sent into an outage is not sent again",
		File:    "impl/camera/stream.go",
		Find:    "lost := from != path && from.Route == punch.Direct || next == 0 && !again",
		Replace: "lost := false && next == 0 && !again",
	},
	{
		Name: "pacing-absent", Part: Camera, Job: "outage", Metric: "intact_rate",
		Summary: "after an outage all that was missed leaves at once and drowns in the access line's queue",
		File:    "impl/camera/stream.go",
		Find:    "replayBurst = 32 ",
		Replace: "replayBurst = 4096 ",
	},
	{
		Name: "consent-unanswered", Part: Camera, Job: "punch", Metric: "direct_rate",
		Summary: "the viewer never learns that its packets arrive",
		File:    "impl/camera/viewer.go",
		Find:    "v.sealTo(to, &wire.ConsentAck{Sequence: m.Sequence})",
		Replace: "_ = to",
	},
	{
		Name: "doubt-never", Part: Camera, Job: "reboot", Metric: "gap_s.p50",
		Summary: "the camera does not notice that its router has forgotten it",
		File:    "impl/camera/doubt.go",
		Find:    "case !v.confirmed || !s.flowing() || v.cam.link == nil:",
		Replace: "case v.cam.link != nil || !s.flowing():",
	},
	{
		Name: "idle-chatter", Part: Camera, Job: "idle", Metric: "bytes.camera_idle_up.p50",
		Summary: "a camera that nobody watches talks once a second: a gigabyte a year upstream, and no sleep for its battery",
		File:    "impl/camera/camera.go",
		Find:    "c.Keepalive = 15 * time.Second",
		Replace: "c.Keepalive = time.Second",
	},
	{
		Name: "viewer-told-apart", Part: Camera, Job: "asleep", Metric: "connected_rate",
		Summary: "a viewer that comes back is taken for a copy of itself and refused",
		File:    "impl/camera/admit.go",
		Find:    "req.Timestamp() <= c.stamps[req.Peer()]",
		Replace: "req.Timestamp() <= c.stamps[req.Peer()]+uint64(10*time.Minute)",
	},
}
