package nat

// Feature is a behavior that some engines realise and others refuse: a row of `punchlab list nats --engine E`.
type Feature struct {
	ID      string             // "mapping-eim"; stable
	Title   string             // for people
	RFC     string             // "4787 REQ-1"; empty for what no RFC words
	Engines map[string]Support // by "netfilter" and "table"
}

// Support says that an engine has a feature, by the test that shows it, or why it has not.
type Support struct {
	Test   string // "lab/agree TestRFC4787/REQ-1"; empty if it has not
	Reason string // why not, or in which detail it differs
}
