package mutants

// inViewer are faults of a viewer.
var inViewer = []Mutant{
	{
		Name: "direct-not-taken", Part: Viewer, Job: "random", Metric: "direct_rate",
		Summary: "the viewer hears the camera directly and stays on the relay",
		File:    "impl/viewer/watch.go",
		Find:    "case path.Route != punch.Direct || slices.Contains(a.oneWay, path):",
		Replace: "case path.Route != punch.Direct || slices.Contains(a.oneWay, path), a.path.Route == punch.Relay:",
	},
	{
		Name: "connect-once", Part: Viewer, Job: "early", Metric: "connected_rate",
		Summary: "the request is sent once: where it is lost nothing happens for ever",
		File:    "impl/viewer/attempt.go",
		Find: `a.again = now.Add(a.gap)
}`,
		Replace: "}",
	},
	{
		Name: "connect-repeated-late", Part: Viewer, Job: "early", Metric: "connect_s.p95",
		Summary: "a lost request is repeated after seconds, not after a round trip",
		File:    "impl/viewer/attempt.go",
		Find:    "a.gap = max(2*a.gap, link.RTO())",
		Replace: "a.gap = max(2*a.gap, link.RTO(), 3*time.Second)",
	},
	{
		Name: "use-once", Part: Viewer, Job: "early", Metric: "direct_rate",
		Summary: "the chosen path is named once: where that is lost the camera does not know",
		File:    "impl/viewer/watch.go",
		Find: `a.useDue = now.Add(a.useGap)
	if dead`,
		Replace: `a.useDue = now.Add(100 * a.useGap)
	if dead`,
	},
	{
		Name: "fallback-late", Part: Viewer, Job: "outage", Metric: "gap_s.p50",
		Summary: "a dead path is doubted after four seconds, whatever the video's rhythm was",
		File:    "impl/viewer/rhythm.go",
		Find:    "s = min(max(4*(r.gap+r.dev), minSilence), maxSilence)",
		Replace: "s = 4 * maxSilence",
	},
	{
		Name: "consent-chatter", Part: Viewer, Job: "punch", Metric: "bytes.viewer_up.p50",
		Summary: "the viewer says twenty times a second that it is there",
		File:    "impl/viewer/viewer.go",
		Find:    "def(&c.ConsentEvery, 5*time.Second)",
		Replace: "def(&c.ConsentEvery, 50*time.Millisecond)",
	},
	{
		Name: "reports-too-often", Part: Viewer, Job: "punch", Metric: "bytes.viewer_up.p50",
		Summary: "feedback leaves every 5 ms: the viewer's upstream is as busy as its downstream",
		File:    "impl/viewer/watch.go",
		Find:    "reportEvery = 200 * time.Millisecond",
		Replace: "reportEvery = 5 * time.Millisecond",
	},
	{
		Name: "sample-ignored", Part: Viewer, Job: "sequential", Metric: "direct_rate",
		Summary: "where the camera's next port will be is told and not used",
		File:    "impl/viewer/attempt.go",
		Find:    "a.agent.Sampled(now, m.Endpoint.AddrPort)",
		Replace: "_ = m.Endpoint.AddrPort",
	},
	{
		Name: "fallback-missing", Part: Viewer, Job: "outage", Metric: "gap_s.p50",
		Summary: "a dead path is never doubted: the picture stands still until the path lives again",
		File:    "impl/viewer/watch.go",
		Find: `a.doubt(now)
		return`,
		Replace: `a.useDue = now.Add(time.Second)
		return`,
	},
	{
		Name: "stop-forgotten", Part: Viewer, Job: "punch", Metric: "bytes.viewer_up.p50",
		Summary: "the viewer goes on punching though it has its path",
		File:    "impl/viewer/attempt.go",
		Find:    "a.agent.Stop(a.path)",
		Replace: "_ = a.path",
	},
}
