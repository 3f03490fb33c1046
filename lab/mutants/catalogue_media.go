package mutants

// inMedia are faults of sending and receiving video.
var inMedia = []Mutant{
	{
		Name: "frames-corrupted", Part: Media, Job: "punch", Metric: "intact_rate",
		Summary: "the last byte of each fragment is wrong: grey blocks",
		File:    "impl/media/packetize.go",
		Find:    "buf = append(buf, rest[:n]...)",
		Replace: `buf = append(buf, rest[:n]...)
		buf[len(buf)-1] ^= 1`,
	},
	{
		Name: "fragment-dropped", Part: Media, Job: "punch", Metric: "intact_rate",
		Summary: "pictures of more than twenty fragments miss one",
		File:    "impl/media/packetize.go",
		Find:    "buf := append(s.begin(), indicator, header)",
		Replace: `if len(dst) == 20 {
			rest = rest[n:]
			continue
		}
		buf := append(s.begin(), indicator, header)`,
	},
	{
		Name: "resend-slow", Part: Media, Job: "loss", Metric: "gap_s.p50",
		Summary: "a gap is asked for only when it is a third of a second old",
		File:    "impl/media/receiver.go",
		Find:    "c.ReorderWait = 10 * time.Millisecond",
		Replace: "c.ReorderWait = 300 * time.Millisecond",
	},
	{
		Name: "nack-once", Part: Media, Job: "loss", Metric: "intact_rate",
		Summary: "what is missing is asked for once",
		File:    "impl/media/repair.go",
		Find:    "nackTries   = 20",
		Replace: "nackTries   = 1",
	},
	{
		Name: "nack-number-off", Part: Media, Job: "loss", Metric: "intact_rate",
		Summary: "the packet after the missing one is asked for",
		File:    "impl/media/repair.go",
		Find:    "due = append(due, uint16(seq))",
		Replace: "due = append(due, uint16(seq)+1)",
	},
	{
		Name: "resend-gap-long", Part: Media, Job: "loss", Metric: "intact_rate",
		Summary: "a packet is sent again at most every two seconds: who loses it twice waits",
		File:    "impl/media/sender.go",
		Find:    "c.ResendGap = 20 * time.Millisecond",
		Replace: "c.ResendGap = 2 * time.Second",
	},
	{
		Name: "waits-too-short", Part: Media, Job: "loss", Metric: "intact_rate",
		Summary: "a missing packet is waited for 30 ms: less than a round trip",
		File:    "impl/media/receiver.go",
		Find:    "c.MaxWait = max(time.Second, 4*c.RTT)",
		Replace: "c.MaxWait = 30 * time.Millisecond",
	},
	{
		Name: "marker-lost", Part: Media, Job: "punch", Metric: "intact_rate",
		Summary: "a picture's last packet is not marked: each picture is shown when the next one begins",
		File:    "impl/media/packetize.go",
		Find:    "s.header.SequenceNumber, s.header.Marker = uint16(s.next), marker",
		Replace: "s.header.SequenceNumber, s.header.Marker = uint16(s.next), marker && false",
	},
	{
		Name: "held-back", Part: Media, Job: "punch", Metric: "intact_rate",
		Summary: "a picture is handed over when the next one has begun to arrive",
		File:    "impl/media/frames.go",
		Find: `if s.pkt.marker {
			r.deliver(now, b.scan)
		}`,
		Replace: `if s.pkt.marker && (b.scan <= b.highest || s.pkt.ts == r.cfg.Keys.firstTS) {
			r.deliver(now, b.scan)
		}`,
	},
}
