package reports

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// trial is what a report keeps of a record.Trial: a tenth of its memory, so that a run of 10^5 trials takes some tens of
// megabytes. What did not happen is NaN.
type trial struct {
	names *names // of figures and texts

	number, attempt int32
	outcome         record.Outcome
	seed            uint64
	endedAt         int64 // Unix seconds

	connect, packet, frame, triangle, bound, idle float64 // seconds
	goodput, loss, gap                            float64
	lateP50, lateP99, lateMax                     float64

	media                  bool
	sent, received, intact int32 // frames
	changes                int32 // of path

	figures                   []float64 // bytes.NAME and probes.NAME, by the index of their names
	cause, fault, pcap, event int32     // indices of texts; 0 is the empty one
}

var absent = math.NaN()

// has reports whether a figure was measured.
func has(v float64) bool { return !math.IsNaN(v) }

// names holds once what many trials share.
type names struct {
	figures map[string]int
	texts   []string
	index   map[string]int32
}

func newNames() *names {
	return &names{figures: map[string]int{}, texts: []string{""}, index: map[string]int32{"": 0}}
}

func (n *names) text(s string) int32 {
	i, ok := n.index[s]
	if !ok {
		i = int32(len(n.texts))
		s = strings.Clone(s) // not the line that it is cut from
		n.texts, n.index[s] = append(n.texts, s), i
	}
	return i
}

// Cause is why a trial did not go direct, Error what went wrong in the lab, Pcap its capture, Events what the lab did to it.
func (t *trial) Cause() string { return t.names.texts[t.cause] }
func (t *trial) Error() string { return t.names.texts[t.fault] }
func (t *trial) Pcap() string  { return t.names.texts[t.pcap] }

// figure is one of a trial's own figures, as "bytes.relay" or "probes.packets".
func (t *trial) figure(name string) float64 {
	if i, ok := t.names.figures[name]; ok && i < len(t.figures) {
		return t.figures[i]
	}
	return absent
}

// What a trial measured, as sample takes it.
func connectS(t *trial) float64    { return t.connect }
func firstFrameS(t *trial) float64 { return t.frame }
func triangleS(t *trial) float64   { return t.triangle }
func boundS(t *trial) float64      { return t.bound }
func gapS(t *trial) float64        { return t.gap }
func goodputBps(t *trial) float64  { return t.goodput }
func latenessS(t *trial) float64   { return t.lateP99 }
func packetRatio(t *trial) float64 { return over(t.packet, t.triangle) }
func frameRatio(t *trial) float64  { return over(t.frame, t.bound) }

// probe takes one of a trial's own figures.
func probe(key string) func(*trial) float64 {
	return func(t *trial) float64 { return t.figure("probes." + key) }
}

func over(a, b float64) float64 {
	if !has(a) || !has(b) || b <= 0 {
		return absent
	}
	return a / b
}

// maxFrames is how many latencies of frames a report keeps, 4 bytes each. Of more it keeps every second, fourth … one.
const maxFrames = 1 << 22

// columns gathers the trials of a run as they are read.
type columns struct {
	names    *names
	cells    map[int]*cell
	attempts int // trials gathered, harness errors too
	frames   int // latencies kept
	stride   int // every how manieth frame is kept
	most     int // latencies to keep
}

func newColumns() *columns {
	return &columns{names: newNames(), cells: map[int]*cell{}, stride: 1, most: maxFrames}
}

// add keeps what reports need of a trial.
func (k *columns) add(r record.Trial) error {
	c := k.cells[r.Cell]
	if c == nil {
		c = &cell{index: r.Cell}
		c.Params, c.Oracle, c.Possible = maps.Clone(r.Params), r.Oracle, r.Possible
		k.cells[r.Cell] = c
	}
	if c.Oracle == "" {
		c.Oracle, c.Possible = r.Oracle, r.Possible
	}
	k.attempts++
	c.trials = append(c.trials, k.trial(r))
	if r.Media != nil && r.Outcome.HasVerdict() {
		k.keepFrames(c, r.Media.LatencyS)
	}
	return nil
}

func (k *columns) trial(r record.Trial) trial {
	t := trial{
		names: k.names, number: int32(r.Trial), attempt: int32(r.Attempt), outcome: r.Outcome, seed: r.Seed, endedAt: r.EndedAt.Unix(),
		connect: value(r.ConnectS), packet: value(r.FirstPacketS), frame: value(r.FirstFrameS),
		triangle: value(r.TriangleS), bound: value(r.BoundS), idle: value(r.IdleS),
		goodput: absent, loss: absent, gap: absent, lateP50: absent, lateP99: absent, lateMax: absent, changes: int32(r.PathChanges),
		cause: k.names.text(r.Cause), fault: k.names.text(r.Error), pcap: k.names.text(r.Pcap), event: k.names.text(events(r.Events)),
	}
	if i := slices.Index(record.Outcomes, r.Outcome); i >= 0 {
		t.outcome = record.Outcomes[i] // not the line that it is cut from
	}
	if m := r.Media; m != nil {
		t.media, t.sent, t.received, t.intact = true, int32(m.FramesSent), int32(m.FramesReceived), int32(m.FramesIntact)
		t.goodput, t.loss, t.gap = value(m.GoodputBps), value(m.Loss), value(m.GapS)
	}
	if l := r.Lateness; l != nil {
		t.lateP50, t.lateP99, t.lateMax = l.P50, l.P99, l.Max
	}
	for name, v := range r.Bytes {
		k.put(&t, "bytes.", name, float64(v))
	}
	for name, v := range r.Probes {
		k.put(&t, "probes.", name, v)
	}
	return t
}

func (k *columns) put(t *trial, kind, name string, v float64) {
	i, ok := k.names.figures[kind+name]
	if !ok {
		i = len(k.names.figures)
		k.names.figures[kind+name] = i
	}
	if t.figures == nil {
		t.figures = make([]float64, 0, len(k.names.figures))
	}
	for len(t.figures) <= i {
		t.figures = append(t.figures, absent)
	}
	t.figures[i] = v
}

// keepFrames keeps the latencies of a trial's frames, or every so manieth.
func (k *columns) keepFrames(c *cell, latencies []float64) {
	for _, v := range latencies {
		if c.passed++; c.passed%k.stride == 0 {
			c.frames = append(c.frames, float32(v))
			k.frames++
		}
	}
	if k.frames <= k.most {
		return
	}
	k.stride, k.frames = 2*k.stride, 0
	for _, c := range k.cells {
		kept := c.frames[:0]
		for i := 1; i < len(c.frames); i += 2 {
			kept = append(kept, c.frames[i])
		}
		c.frames = kept
		k.frames += len(kept)
	}
}

// events writes what the lab did to a trial on one line: "1.002 camera reboots\t…".
func events(es []record.Event) string {
	var s []string
	for _, e := range es {
		what := e.What
		if e.Error != "" {
			what += " (" + e.Error + ")"
		}
		s = append(s, number(e.AtS, 3)+" "+strings.Join(strings.Fields(what), " "))
	}
	return strings.Join(s, "\t")
}

func value(v *float64) float64 {
	if v == nil {
		return absent
	}
	return *v
}

func pointer(v float64) *float64 {
	if !has(v) {
		return nil
	}
	return &v
}

// done returns the cells in the scenario's order, each with its trials in theirs and its summary.
func (k *columns) done() (cells []*cell) {
	for _, i := range slices.Sorted(maps.Keys(k.cells)) {
		c := k.cells[i]
		slices.SortStableFunc(c.trials, func(a, b trial) int {
			return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.attempt, b.attempt))
		})
		c.summarize()
		cells = append(cells, c)
	}
	return cells
}

// summarize fills in the cell as record.SummarizeCell computes it: of records made again from the columns, so that there is one
// definition of a summary.
func (c *cell) summarize() {
	rs := make([]record.Trial, len(c.trials))
	for i := range c.trials {
		rs[i] = c.trials[i].record()
		rs[i].Params, rs[i].Oracle, rs[i].Possible = c.Params, c.Oracle, c.Possible
	}
	c.Cell = record.SummarizeCell(rs)
	if c.Media != nil {
		c.Media.LatencyS = record.NewDist(c.latencies())
	}
}

// latencies are those kept of the cell's frames.
func (c *cell) latencies() []float64 {
	xs := make([]float64, len(c.frames))
	for i, v := range c.frames {
		xs[i] = math.Round(float64(v)*1e7) / 1e7 // what a float32 tells of a second
	}
	return xs
}

// record is the trial as far as it was kept.
func (t *trial) record() record.Trial {
	r := record.Trial{
		Trial: int(t.number), Attempt: int(t.attempt), Seed: t.seed, Outcome: t.outcome,
		TriangleS: pointer(t.triangle), BoundS: pointer(t.bound), ConnectS: pointer(t.connect), FirstPacketS: pointer(t.packet), FirstFrameS: pointer(t.frame),
		IdleS: pointer(t.idle), PathChanges: int(t.changes), Cause: t.Cause(), Error: t.Error(), Pcap: t.Pcap(),
		Bytes: map[string]int64{}, Probes: map[string]float64{},
	}
	if t.media {
		r.Media = &record.Media{FramesSent: int(t.sent), FramesReceived: int(t.received), FramesIntact: int(t.intact),
			GoodputBps: pointer(t.goodput), Loss: pointer(t.loss), GapS: pointer(t.gap)}
	}
	for name, i := range t.names.figures {
		if i >= len(t.figures) || !has(t.figures[i]) {
			continue
		}
		if key, ok := strings.CutPrefix(name, "bytes."); ok {
			r.Bytes[key] = int64(t.figures[i])
		} else if key, ok := strings.CutPrefix(name, "probes."); ok {
			r.Probes[key] = t.figures[i]
		}
	}
	return r
}
