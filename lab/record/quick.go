package record

import "encoding/json"

// quick reads a line of the form that Writer gives it: no space, no escape, no null, known fields only and each once, whole numbers
// where they belong. Whatever is otherwise makes ok false, and is left to parseTrial; where ok is true both read the same
// (TestQuickIsSlow, FuzzParseTrial). A run of 10^5 trials is read in a fifth of the time that encoding/json takes.
func (p *parser) quick(line []byte) (t Trial, ok bool) {
	s := &reader{b: line, p: p}
	s.trial(&t)
	if s.bad || s.i < len(line) && (line[s.i] != '\n' || s.i+1 < len(line)) {
		return Trial{}, false
	}
	return t, true
}

// The fields of a trial that every line must have.
const (
	hasSchema = 1 << iota
	hasCell
	hasTrial
	hasSeed
	hasParams
	hasOutcome
	hasOracle
	hasRest // the first of the others

	hasAll = hasRest - 1
)

func (s *reader) trial(t *Trial) {
	var seen uint64
	numbers := new([6]float64) // one allocation for all
	s.object(func(key []byte) {
		bit := uint64(0)
		switch string(key) {
		case "schema":
			bit, t.Schema = hasSchema, s.word()
		case "cell":
			bit, t.Cell = hasCell, s.int()
		case "trial":
			bit, t.Trial = hasTrial, s.int()
		case "seed":
			bit, t.Seed = hasSeed, s.uint()
		case "params":
			bit, t.Params = hasParams, s.params()
		case "outcome":
			bit, t.Outcome = hasOutcome, Outcome(s.word())
		case "oracle":
			bit, t.Oracle = hasOracle, s.word()
		default:
			if n := s.rest(t, string(key), numbers); n >= 0 {
				bit = hasRest << n
			}
		}
		s.bad = s.bad || bit == 0 || seen&bit != 0
		seen |= bit
	})
	s.bad = s.bad || seen&hasAll != hasAll
}

// rest reads a field that need not be there and returns its number, or -1 for an unknown one.
func (s *reader) rest(t *Trial, key string, numbers *[6]float64) int {
	number := func(i int) *float64 {
		numbers[i] = s.float()
		return &numbers[i]
	}
	switch key {
	case "attempt":
		t.Attempt = s.int()
		return 0
	case "possible":
		t.Possible = s.possible()
		return 1
	case "triangle_s":
		t.TriangleS = number(0)
		return 2
	case "bound_s":
		t.BoundS = number(1)
		return 3
	case "connect_s":
		t.ConnectS = number(2)
		return 4
	case "first_packet_s":
		t.FirstPacketS = number(3)
		return 5
	case "first_frame_s":
		t.FirstFrameS = number(4)
		return 6
	case "idle_s":
		t.IdleS = number(5)
		return 7
	case "path_changes":
		t.PathChanges = s.int()
		return 8
	}
	return s.more(t, key)
}

// more reads the fields that are no single figures.
func (s *reader) more(t *Trial, key string) int {
	switch key {
	case "media":
		t.Media = s.media()
		return 9
	case "bytes":
		t.Bytes = make(map[string]int64, 8)
		s.object(func(key []byte) { t.Bytes[s.p.word(key)] = int64(s.int()) })
		return 10
	case "probes":
		t.Probes = make(map[string]float64, 8)
		s.object(func(key []byte) { t.Probes[s.p.word(key)] = s.float() })
		return 11
	case "lateness_s":
		t.Lateness = s.lateness()
		return 12
	case "events":
		t.Events = s.events()
		return 13
	case "cause":
		t.Cause = s.word()
		return 14
	case "pcap":
		t.Pcap = string(s.text())
		return 15
	case "error":
		t.Error = s.word()
		return 16
	case "started_at":
		t.StartedAt = s.time()
		return 17
	case "ended_at":
		t.EndedAt = s.time()
		return 18
	}
	return -1
}

func (s *reader) media() *Media {
	m := &Media{}
	seen := 0
	s.object(func(key []byte) {
		bit := 0
		switch string(key) {
		case "frames_sent":
			bit, m.FramesSent = 1, s.int()
		case "frames_received":
			bit, m.FramesReceived = 2, s.int()
		case "frames_intact":
			bit, m.FramesIntact = 4, s.int()
		case "latency_s":
			bit, m.LatencyS = 8, s.floats()
		case "goodput_bps":
			bit, m.GoodputBps = 16, s.pointer()
		case "loss":
			bit, m.Loss = 32, s.pointer()
		case "gap_s":
			bit, m.GapS = 64, s.pointer()
		}
		s.bad = s.bad || bit == 0 || seen&bit != 0
		seen |= bit
	})
	return m
}

func (s *reader) lateness() *Lateness {
	l := &Lateness{}
	s.object(func(key []byte) {
		switch string(key) {
		case "p50":
			l.P50 = s.float()
		case "p99":
			l.P99 = s.float()
		case "max":
			l.Max = s.float()
		default:
			s.bad = true
		}
	})
	return l
}

func (s *reader) events() []Event {
	all := []Event{}
	s.array(func() {
		var e Event
		s.object(func(key []byte) {
			switch string(key) {
			case "at_s":
				e.AtS = s.float()
			case "what":
				e.What = s.word()
			case "error":
				e.Error = s.word()
			default:
				s.bad = true
			}
		})
		all = append(all, e)
	})
	return all
}

// params reads {"axis":"value",…}. Trials with the same text share one map.
func (s *reader) params() map[string]string {
	from := s.i
	s.object(func([]byte) { s.text() })
	if s.bad {
		return nil
	}
	if known, ok := s.p.params[string(s.b[from:s.i])]; ok {
		return known
	}
	var m map[string]string
	s.bad = json.Unmarshal(s.b[from:s.i], &m) != nil
	remember(s.p.params, s.b[from:s.i], m)
	return m
}

// possible reads what theory allows, which the trials of a cell share.
func (s *reader) possible() *Possible {
	from := s.i
	s.object(func(key []byte) {
		switch string(key) {
		case "via", "silent":
			s.text()
		case "sockets", "probes", "ports":
			s.int()
		case "p":
			s.float()
		default:
			s.bad = true
		}
	})
	if s.bad {
		return nil
	}
	if known, ok := s.p.possible[string(s.b[from:s.i])]; ok {
		return known
	}
	var v *Possible
	s.bad = json.Unmarshal(s.b[from:s.i], &v) != nil
	remember(s.p.possible, s.b[from:s.i], v)
	return v
}

// most is how many texts are remembered: far more than a run has cells.
const most = 1 << 16

func remember[V any](known map[string]V, text []byte, v V) {
	if len(known) < most {
		known[string(text)] = v
	}
}

// word is a text that probably was there before.
func (p *parser) word(b []byte) string {
	if w, ok := p.words[string(b)]; ok {
		return w
	}
	w := string(b)
	remember(p.words, b, w)
	return w
}
