package mutants

// inRendezvous are faults of a rendezvous and its relay.
var inRendezvous = []Mutant{
	{
		Name: "wrong-port", Part: Rendezvous, Job: "punch", Metric: "direct_rate",
		Summary: "the camera is told the port next to the viewer's",
		File:    "impl/rendezvous/introduce.go",
		Find:    "&wire.Introduce{ID: in.id, Endpoint: wire.At(d.told), Noise1",
		Replace: "&wire.Introduce{ID: in.id, Endpoint: wire.At(netip.AddrPortFrom(d.told.Addr(), d.told.Port()+1)), Noise1",
	},
	{
		Name: "wrong-port-to-viewer", Part: Rendezvous, Job: "punch", Metric: "direct_rate",
		Summary: "the viewer is told the port next to the camera's, and punches there",
		File:    "impl/rendezvous/introduce.go",
		Find:    "&wire.Peer{ID: in.viewerID, Endpoint: wire.At(d.told), Channel",
		Replace: "&wire.Peer{ID: in.viewerID, Endpoint: wire.At(netip.AddrPortFrom(d.told.Addr(), d.told.Port()+1)), Channel",
	},
	{
		Name: "class-untold", Part: Rendezvous, Job: "random", Metric: "direct_rate",
		Summary: "the viewer is not told what the camera's NAT does, and guesses nothing",
		File:    "impl/rendezvous/introduce.go",
		Find:    "Channel: d.channel(), Class: c.class,",
		Replace: "Channel: d.channel(), Class: wire.Class{},",
	},
	{
		Name: "candidates-untold", Part: Rendezvous, Job: "six", Metric: "direct_rate",
		Summary: "the viewer is not told the camera's own addresses",
		File:    "impl/rendezvous/introduce.go",
		Find:    "Candidates: unpack(c.candidates)})",
		Replace: `Candidates: unpack("")})`,
	},
	{
		Name: "sample-untold", Part: Rendezvous, Job: "sequential", Metric: "direct_rate",
		Summary: "where a side's next port will be is not passed on",
		File:    "impl/rendezvous/tie.go",
		Find:    "s.tell(other.client, core.Signal, &wire.Sampled{ID: other.id, Endpoint: wire.At(from), Count: d.samples})",
		Replace: "_ = wire.At(from)",
	},
	{
		Name: "sample-stale", Part: Rendezvous, Job: "sequential", Metric: "direct_rate",
		Summary: "the first sample is passed on for ever: the prediction starts where the port was",
		File:    "impl/rendezvous/tie.go",
		Find:    "if !d.tie.samples.take(now, samplePerSecond, sampleBurst, 1) {",
		Replace: "if !d.tie.samples.take(now, 0, 1, 1) {",
	},
	{
		Name: "stun-one-socket", Part: Rendezvous, Job: "silent", Metric: "bytes.relay.p50",
		Summary: "the STUN server answers from the same socket whatever it is asked: nobody learns what his filter does",
		File:    "impl/rendezvous/stun.go",
		Find:    "answering := changed(&d.request, at)",
		Replace: "answering := at",
	},
	{
		Name: "mapping-not-followed", Part: Rendezvous, Job: "renumbered", Metric: "connected_rate",
		Summary: "a camera whose router has got another address is looked for at the old one",
		File:    "impl/rendezvous/client.go",
		Find:    "c.remote, c.local = from, s.socket(to)",
		Replace: "c.local = s.socket(to)",
	},
	{
		Name: "relay-unopened", Part: Rendezvous, Job: "relay", Metric: "connected_rate",
		Summary: "a relay is asked for and not opened",
		File:    "impl/rendezvous/introduce.go",
		Find: `if m.Relay {
		s.openRelay(now, in.tie)
	}`,
		Replace: "",
	},
	{
		Name: "relay-throttled", Part: Rendezvous, Job: "relay", Metric: "intact_rate",
		Summary: "small frames cost as much of the relay's quota as a large file",
		File:    "impl/rendezvous/relay.go",
		Find:    "leastCharge = 100",
		Replace: "leastCharge = 20_000",
	},
	{
		Name: "relay-holds", Part: Rendezvous, Job: "relay", Metric: "gap_s.p50",
		Summary: "the relay loses each frame that finds the last one still under way",
		File:    "impl/rendezvous/relay.go",
		Find: `e.relay.last = now
	s.stats`,
		Replace: `if e.relay.last == now {
		return errNotReady
	}
	e.relay.last = now
	s.stats`,
	},
	{
		Name: "survey-chatter", Part: Rendezvous, Job: "idle", Metric: "bytes.camera_idle_up.p50",
		Summary: "every camera is asked every second or two whether it is there",
		File:    "impl/rendezvous/client.go",
		Find:    "func (s *Server) patience() time.Duration { return s.cfg.Expiry - serverPings*s.gap() }",
		Replace: "func (s *Server) patience() time.Duration { return s.gap() }",
	},
	{
		Name: "connects-limited", Part: Rendezvous, Job: "punch", Metric: "connected_rate",
		Summary: "the limit of requests is met by a viewer that asks once",
		File:    "impl/rendezvous/introduce.go",
		Find:    "case a.proxy == nil && !a.connects.take(now, s.cfg.ConnectsPerSecond, connectBurst*s.cfg.ConnectsPerSecond, 1):",
		Replace: "case a.proxy == nil && !a.connects.take(now, s.cfg.ConnectsPerSecond, connectBurst, 11):",
	},
}
