package mutants

// inSession are faults of the sessions between any two.
var inSession = []Mutant{
	{
		Name: "first-message-refused", Part: Session, Job: "punch", Metric: "bytes.relay.p50",
		Summary: "the first message of each session is taken for a copy",
		File:    "impl/session/window.go",
		Find: `func (w *window) fresh(counter uint64) bool {
`,
		Replace: `func (w *window) fresh(counter uint64) bool {
	if counter == 0 {
		return false
	}
`,
	},
	{
		Name: "window-of-one", Part: Session, Job: "early", Metric: "connect_s.p95",
		Summary: "what is overtaken by one packet is refused",
		File:    "impl/session/window.go",
		Find:    "if w.next-counter > ReplayWindow {",
		Replace: "if w.next-counter > 0 {",
	},
	{
		Name: "session-short", Part: Session, Job: "outage", Metric: "connected_rate",
		Summary: "a session ends after five seconds, and the video with it",
		File:    "impl/session/layout.go",
		Find:    "RejectAfterTime = 24 * time.Hour",
		Replace: "RejectAfterTime = 5 * time.Second",
	},
	{
		Name: "stamp-coarse", Part: Session, Job: "asleep", Metric: "connected_rate",
		Summary: "a handshake's timestamp counts hours: whoever comes again within one is taken for a copy",
		File:    "impl/session/initiator.go",
		Find:    "least := uint64(max(now.UnixNano(), 0))",
		Replace: "least := uint64(max(now.Truncate(time.Hour).UnixNano(), 0))",
	},
	{
		Name: "counter-wasted", Part: Session, Job: "punch", Metric: "direct_rate",
		Summary: "a message is sealed again with the number before: the peer refuses every second one",
		File:    "impl/session/session.go",
		Find: `s.next++
	return out`,
		Replace: `s.next += 1 - s.next%2*2%3
	return out`,
	},
	{
		Name: "compact-window-stuck", Part: Session, Job: "early", Metric: "connect_s.p95",
		Summary: "the rendezvous forgets which numbers it has seen whenever one is left out",
		File:    "impl/session/compact.go",
		Find: `s.shift(counter + 1 - s.top)
	s.top = counter + 1`,
		Replace: `s.shift(counter + 1 - s.top)
	s.top = counter + 3`,
	},
}
