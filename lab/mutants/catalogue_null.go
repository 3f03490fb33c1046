package mutants

// nulls change nothing: the gate has to pass them.
var nulls = []Mutant{
	{
		Name: "null-comment", Part: Strategy, Job: "same", Metric: "",
		Summary: "a comment reads otherwise: nobody notices anything",
		File:    "impl/punch/policy_direct.go",
		Find:    "// direct is hole punching alone (Ford, Srisuresh, Kegel 2005), in one flight.",
		Replace: "// direct is hole punching alone, in one flight (Ford, Srisuresh, Kegel 2005).",
	},
	{
		Name: "null-equivalent", Part: Camera, Job: "same", Metric: "",
		Summary: "a condition is written the other way round",
		File:    "impl/camera/pace.go",
		Find: `if p.free.Before(now) {
		p.free = now
	}`,
		Replace: `if now.After(p.free) {
		p.free = now
	}`,
	},
}
