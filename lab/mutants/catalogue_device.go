package mutants

// inDevice are faults of what camera and viewer have alike: the session with the rendezvous, and what they find out of their NATs.
var inDevice = []Mutant{
	{
		Name: "keepalive-lost", Part: Device, Job: "forgetful", Metric: "connected_rate",
		Summary: "after the first one no keepalive leaves: the router forgets the camera",
		File:    "impl/uplink/keep.go",
		Find:    "l.next = now.Add(l.rhythm.every - l.jitter(l.rhythm.every/5) - l.lead())",
		Replace: "l.next = time.Time{}",
	},
	{
		Name: "restart-unnoticed", Part: Device, Job: "away", Metric: "connected_rate",
		Summary: "a rendezvous that has restarted is pinged for minutes before the camera registers again",
		File:    "impl/uplink/servers.go",
		Find:    "\t\treturn maxPings\n",
		Replace: "\t\treturn maxPings + 300\n",
	},
	{
		Name: "filter-misjudged", Part: Device, Job: "random", Metric: "direct_rate",
		Summary: "a filter that lets nobody in is taken for one that lets anybody in",
		File:    "impl/classify/filter.go",
		Find: `t.judged = true
			f.silent++`,
		Replace: `t.judged = true
			f.passed = true`,
	},
	{
		Name: "mapping-misjudged", Part: Device, Job: "random", Metric: "direct_rate",
		Summary: "every NAT is taken for one whose mappings depend on nothing",
		File:    "impl/classify/conclude.go",
		Find: `case known && !same:
		return wire.AddressAndPortDependent`,
		Replace: `case known && !same:
		return wire.EndpointIndependent`,
	},
	{
		Name: "order-misjudged", Part: Device, Job: "sequential", Metric: "direct_rate",
		Summary: "the step of a sequential router is taken for twice what it is",
		File:    "impl/classify/ports.go",
		Find:    "return portModel{ports: wire.PortsSequential, step: step}",
		Replace: "return portModel{ports: wire.PortsSequential, step: 2 * step}",
	},
	{
		Name: "no-candidates", Part: Device, Job: "home", Metric: "direct_rate",
		Summary: "a device does not say its own addresses",
		File:    "impl/self/self.go",
		Find:    "return cs[:min(len(cs), wire.MaxCandidates)]",
		Replace: "return cs[:0]",
	},
	{
		Name: "class-unreported", Part: Device, Job: "random", Metric: "direct_rate",
		Summary: "what a device finds out of its NAT it keeps to itself",
		File:    "impl/self/self.go",
		Find:    "d.link.Report(now, d.class, cs)",
		Replace: "d.link.Report(now, wire.Class{}, cs)",
	},
}
