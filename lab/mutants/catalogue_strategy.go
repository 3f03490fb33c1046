package mutants

// inStrategy are faults of the ways to a direct path.
var inStrategy = []Mutant{
	{
		Name: "late-punch", Part: Strategy, Job: "punch", Metric: "connect_s.p50",
		Summary: "the viewer's first punch leaves a third of a second late, and its filter is closed meanwhile",
		File:    "impl/punch/policy_direct.go",
		Find:    "quick = []time.Duration{0, 20",
		Replace: "quick = []time.Duration{300 * time.Millisecond, 320",
	},
	{
		Name: "gives-up-early", Part: Strategy, Job: "early", Metric: "direct_rate",
		Summary: "hole punching gives up before a second try can arrive",
		File:    "impl/punch/policy_direct.go",
		Find:    "GiveUp:  3 * time.Second",
		Replace: "GiveUp:  120 * time.Millisecond",
	},
	{
		Name: "birthday-halved", Part: Strategy, Job: "guess", Metric: "direct_rate",
		Summary: "half of the sockets and half of the probes",
		File:    "impl/punch/policy_adaptive.go",
		Find:    "Sockets: 256, Probes: 2048,",
		Replace: "Sockets: 128, Probes: 1024,",
	},
	{
		Name: "birthday-repeats", Part: Strategy, Job: "random", Metric: "connect_s.p50",
		Summary: "each port is probed twice, and half of them never",
		File:    "impl/punch/guess.go",
		Find:    "first+uint16(order.at(i))",
		Replace: "first+uint16(order.at(i/2))",
	},
	{
		Name: "birthday-slow", Part: Strategy, Job: "random", Metric: "direct_rate",
		Summary: "probes leave at a tenth of the rate that they may have",
		File:    "impl/punch/guess.go",
		Find:    "a.volley(begin.Add(pace.probe), time.Second/time.Duration(p.Birthday.Rate), m,",
		Replace: "a.volley(begin.Add(pace.probe), 10*time.Second/time.Duration(p.Birthday.Rate), m,",
	},
	{
		Name: "sockets-shared", Part: Strategy, Job: "random", Metric: "direct_rate",
		Summary: "all guesses of a birthday leave by one socket",
		File:    "impl/punch/guess.go",
		Find:    "return guess(socks[i], a.peer)",
		Replace: "return guess(socks[i/len(socks)], a.peer)",
	},
	{
		Name: "prediction-off-by-one", Part: Strategy, Job: "sequential", Metric: "direct_rate",
		Summary: "the predicted ports begin one too late",
		File:    "impl/punch/guess.go",
		Find:    "(i*stride+1)*int(a.cfg.Theirs.Step)",
		Replace: "(i*stride+2)*int(a.cfg.Theirs.Step)",
	},
	{
		Name: "prediction-backwards", Part: Strategy, Job: "sequential", Metric: "direct_rate",
		Summary: "the predicted ports are those before the sample",
		File:    "impl/punch/guess.go",
		Find:    "port := int(a.sample.Port()) + (",
		Replace: "port := int(a.sample.Port()) - (",
	},
	{
		Name: "stride-lost", Part: Strategy, Job: "sequential", Metric: "direct_rate",
		Summary: "two sequential routers aim alike and pass each other by",
		File:    "impl/punch/guess.go",
		Find:    "stride = 2",
		Replace: "stride = 1",
	},
	{
		Name: "silence-ignored", Part: Strategy, Job: "silent", Metric: "direct_rate",
		Summary: "the side that has to wait to be spoken to speaks, and closes the way",
		File:    "impl/punch/decide.go",
		Find: `return silent, plain
`,
		Replace: `return plain, plain
`,
	},
	{
		Name: "roles-swapped", Part: Strategy, Job: "random", Metric: "direct_rate",
		Summary: "both sides open sockets and neither probes",
		File:    "impl/punch/decide.go",
		Find: `return opens, probes
`,
		Replace: `return opens, opens
`,
	},
	{
		Name: "blind-too-small", Part: Strategy, Job: "punch", Metric: "first_frame_ratio.p50",
		Summary: "a camera may send so little before it is answered that no picture fits",
		File:    "impl/punch/policy_adaptive.go",
		Find:    "Blind:  256 << 10,",
		Replace: "Blind:  2 << 10,",
	},
	{
		Name: "punch-storm", Part: Strategy, Job: "relay", Metric: "bytes.camera_up.p50",
		Summary: "punches go on every millisecond for as long as no path is found",
		File:    "impl/punch/policy_adaptive.go",
		Find:    "Slow:    400 * time.Millisecond",
		Replace: "Slow:    2 * time.Millisecond",
	},
	{
		Name: "private-untried", Part: Strategy, Job: "home", Metric: "direct_rate",
		Summary: "private addresses are taken for somebody else's, in one's own home too",
		File:    "impl/punch/admit.go",
		Find:    "own.Addr() == peer.Addr() || private(peer.Addr())",
		Replace: "private(peer.Addr())",
	},
}
