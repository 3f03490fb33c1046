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
		Find:    "s.last = max(s.last+1, least)",
		Replace: "s.last = max(s.last, least-least%uint64(time.Hour))",
	},
	{
		Name: "rekey-restless", Part: Session, Job: "idle", Metric: "bytes.camera_idle_up.p50",
		Summary: "sessions are renewed every second or two: a handshake with each keepalive",
		File:    "impl/session/layout.go",
		Find:    "RekeyAfterTime = 12 * time.Hour",
		Replace: "RekeyAfterTime = 2 * time.Second",
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
