// Package record is the schema of what a run leaves behind.
//
//	RUN/run.json       Manifest   what was run, where and with which seed; Complete says whether it ended
//	RUN/trials.jsonl   Trial      one a line, in the order in which trials ended; nothing is ever overwritten
//	RUN/summary.json   Summary    a pure function of the two above
//
// Times are in seconds, rates in 0–1, sizes in bytes. What did not happen is absent, never 0.
//
// A Writer (Create, or Open to resume) owns a folder while a run lasts. run.json and summary.json are replaced in one
// step; trials.jsonl only grows, a whole line at a time. A crash can therefore tear nothing but its last line: Read
// counts that line's bytes as Truncated and takes the run for incomplete, Open cuts it off. Anything else that is wrong is
// refused with its file and line: no report is made of half-understood evidence.
//
// A run may be of any size: Scan and SummarizeRun read it trial by trial, and Merge makes one run of parts that ran elsewhere.
package record

import (
	"slices"
	"time"
)

// Schema names, as the "schema" field of each document.
const (
	ManifestSchema = "punchlab/run/1"
	TrialSchema    = "punchlab/trial/1"
	SummarySchema  = "punchlab/summary/1"
)

// Outcome is how a trial ended.
type Outcome string

// The outcomes. HarnessError says that the lab, not the system under test, is to blame: no verdict.
const (
	Direct       Outcome = "direct"
	Relayed      Outcome = "relayed"
	Failed       Outcome = "failed"
	Unsupported  Outcome = "unsupported"
	HarnessError Outcome = "harness-error"
)

// Outcomes lists every outcome, in the order of reports.
var Outcomes = []Outcome{Direct, Relayed, Failed, Unsupported, HarnessError}

// HasVerdict reports whether the system under test was judged. Only harness errors judge nothing.
func (o Outcome) HasVerdict() bool { return o != HarnessError }

// Known reports whether o is one of Outcomes.
func (o Outcome) Known() bool { return slices.Contains(Outcomes, o) }

// Trial is one line of trials.jsonl.
type Trial struct {
	Schema  string            `json:"schema"`
	Cell    int               `json:"cell"`              // index of the cell in the scenario's order
	Trial   int               `json:"trial"`             // number within the cell, from 0; a trial run again keeps its number
	Attempt int               `json:"attempt,omitempty"` // 1 and up: a repeat after harness errors
	Seed    uint64            `json:"seed"`
	Params  map[string]string `json:"params"`
	Outcome Outcome           `json:"outcome"`
	Oracle  string            `json:"oracle"`
	// Possible says what Oracle needs: how many probes, and how likely they are to succeed.
	Possible *Possible `json:"possible,omitempty"`

	TriangleS    *float64 `json:"triangle_s,omitempty"`
	BoundS       *float64 `json:"bound_s,omitempty"`
	ConnectS     *float64 `json:"connect_s,omitempty"`
	FirstPacketS *float64 `json:"first_packet_s,omitempty"`
	FirstFrameS  *float64 `json:"first_frame_s,omitempty"`
	IdleS        *float64 `json:"idle_s,omitempty"` // how long the camera was left alone; Bytes has what it sent meanwhile
	PathChanges  int      `json:"path_changes,omitempty"`

	Media    *Media             `json:"media,omitempty"`
	Bytes    map[string]int64   `json:"bytes,omitempty"` // "camera_up", "relay", "camera_idle_up"
	Probes   map[string]float64 `json:"probes,omitempty"`
	Lateness *Lateness          `json:"lateness_s,omitempty"`
	Events   []Event            `json:"events,omitempty"` // what the lab did to the trial, in its order
	Cause    string             `json:"cause,omitempty"`  // one sentence, where it did not go direct
	Pcap     string             `json:"pcap,omitempty"`   // the trial's capture, below the run's folder
	Error    string             `json:"error,omitempty"`

	StartedAt time.Time `json:"started_at,omitzero"` // from which the events' times count; absent: the lab could not be set up
	EndedAt   time.Time `json:"ended_at"`
}

// Event is something that the lab did during a trial: a router's reboot, a host's move.
type Event struct {
	AtS   float64 `json:"at_s"` // from the trial's started_at
	What  string  `json:"what"` // as the scenario says it
	Error string  `json:"error,omitempty"`
}

// Media is what the viewer got of the video.
type Media struct {
	FramesSent     int       `json:"frames_sent"`
	FramesReceived int       `json:"frames_received"`
	FramesIntact   int       `json:"frames_intact"`       // every byte as the camera read it
	LatencyS       []float64 `json:"latency_s,omitempty"` // one way, a value for each frame
	GoodputBps     *float64  `json:"goodput_bps,omitempty"`
	Loss           *float64  `json:"loss,omitempty"`  // of RTP packets, before repair
	GapS           *float64  `json:"gap_s,omitempty"` // longest standstill: between the arrivals of two frames in a row, or from the last one to the end of a trial that misses some
}

// Lateness is how long after they were due the packets of a trial were delivered.
type Lateness struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Population is a share of NATs in the field. A report weighs a run's cells by it: camera and viewer are drawn from their
// weights, one without regard to the other.
type Population struct {
	Name      string             `json:"name"`
	Source    string             `json:"source"`
	Note      string             `json:"note,omitempty"`
	Size      float64            `json:"size"`           // NATs that the weights rest on
	Weights   map[string]float64 `json:"weights"`        // by value of the axis camera.nat; scaled to a sum of 1
	Peer      map[string]float64 `json:"peer,omitempty"` // the same of viewer.nat, known exactly; empty: drawn from Weights too
	Published Published          `json:"published"`
}

// Published is the figure that a source gives for its population.
type Published struct {
	What string  `json:"what"`
	Rate float64 `json:"rate"`
	Low  float64 `json:"low,omitempty"` // of the interval; both ends 0: none was published
	High float64 `json:"high,omitempty"`
}

// Possible is what theory allows between a trial's camera and viewer, beside Oracle.
type Possible struct {
	Via     string  `json:"via,omitempty"`     // "lan", "udp", "udp6", "portmap", "tcp" or "tcp6"
	Sockets int     `json:"sockets,omitempty"` // opened by the side whose port is guessed
	Probes  int     `json:"probes,omitempty"`  // by the side that guesses
	Ports   int     `json:"ports,omitempty"`   // among which the unknown one is drawn
	P       float64 `json:"p,omitempty"`       // of a direct path with as many
	Silent  string  `json:"silent,omitempty"`  // the side that must not send before it hears the other
}

// Summary is summary.json.
type Summary struct {
	Schema   string  `json:"schema"`
	Scenario string  `json:"scenario"`
	Engine   string  `json:"engine"`
	Seed     uint64  `json:"seed"`
	WallS    float64 `json:"wall_s"`
	Trials   int     `json:"trials"` // with a verdict
	Cells    []Cell  `json:"cells"`
}

// Cell is one combination of the scenario's axes. Trials and rates count the trials with a verdict; harness errors
// stand in Outcomes and are never counted in.
type Cell struct {
	Params           map[string]string `json:"params"`
	Trials           int               `json:"trials"`
	Outcomes         map[Outcome]int   `json:"outcomes"`
	DirectRate       *Rate             `json:"direct_rate,omitempty"` // absent without a trial
	Oracle           string            `json:"oracle"`
	Possible         *Possible         `json:"possible,omitempty"`
	TriangleS        *float64          `json:"triangle_s,omitempty"`
	BoundS           *float64          `json:"bound_s,omitempty"`
	ConnectS         *Dist             `json:"connect_s,omitempty"`
	FirstPacketS     *Dist             `json:"first_packet_s,omitempty"`
	FirstPacketRatio *Dist             `json:"first_packet_ratio,omitempty"`
	FirstFrameS      *Dist             `json:"first_frame_s,omitempty"`
	FirstFrameRatio  *Dist             `json:"first_frame_ratio,omitempty"`
	Media            *CellMedia        `json:"media,omitempty"`
	Bytes            map[string]int64  `json:"bytes"` // sums over the trials with a verdict
	Probes           map[string]*Dist  `json:"probes"`
}

// CellMedia is Media over the trials of a cell: counts are sums, LatencyS is over frames, GoodputBps and GapS over trials, and
// Loss is the mean of the trials' own.
type CellMedia struct {
	FramesSent     int      `json:"frames_sent"`
	FramesReceived int      `json:"frames_received"`
	FramesIntact   int      `json:"frames_intact"`
	LatencyS       *Dist    `json:"latency_s,omitempty"`
	GoodputBps     *Dist    `json:"goodput_bps,omitempty"`
	Loss           *float64 `json:"loss,omitempty"`
	GapS           *Dist    `json:"gap_s,omitempty"` // each trial's longest standstill
}

// Rate is a proportion with its 95 % Wilson interval.
type Rate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Dist describes a sample; the quantiles are stats.Quantile's.
type Dist struct {
	N   int     `json:"n"`
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Manifest is run.json.
type Manifest struct {
	Schema        string              `json:"schema"`
	Command       []string            `json:"command"`
	Scenario      Document            `json:"scenario"`
	Topology      Document            `json:"topology"`
	Seed          uint64              `json:"seed"`
	Engine        string              `json:"engine"`
	TrialsPerCell int                 `json:"trials_per_cell"`
	Cells         int                 `json:"cells,omitempty"` // how many the run has, reached or not
	Axes          []Axis              `json:"axes,omitempty"`  // in the scenario's order, as narrowed
	Set           map[string][]string `json:"set,omitempty"`   // axes narrowed on the command line
	Versions      Versions            `json:"versions"`
	Kernel        string              `json:"kernel"`
	CPU           CPU                 `json:"cpu"`
	Sysctls       map[string]string   `json:"sysctls"`
	Strategies    []Strategy          `json:"strategies,omitempty"`   // those that ran
	Populations   []Population        `json:"populations,omitempty"`  // to weigh the cells by
	LateLimitS    float64             `json:"late_limit_s,omitempty"` // a trial's p99 lateness over it is a harness error
	Shard         string              `json:"shard,omitempty"`        // "i/n", of a run that is one part of n; see Shard
	Jobs          int                 `json:"jobs,omitempty"`         // most trials at once, as asked for
	Stop          string              `json:"stop,omitempty"`         // the rule by which cells end before trials_per_cell, as its author wrote it
	Thresholds    []string            `json:"thresholds,omitempty"`   // as written; "abort: " before one that ends the run
	Workers       []Worker            `json:"workers,omitempty"`      // the machines of a run that was spread over several
	Start         time.Time           `json:"start"`
	End           *time.Time          `json:"end,omitempty"`
	Complete      bool                `json:"complete"`
}

// Strategy says what one of the values of the axis "strategy" is.
type Strategy struct {
	Name    string   `json:"name"`
	System  string   `json:"system"`
	Summary string   `json:"summary,omitempty"`
	Setup   []string `json:"setup,omitempty"` // what an owner has to do once, a step each
}

// Axis is one factor of the scenario with its values in order.
type Axis struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Document names a scenario or topology and pins its text.
type Document struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`         // "sha256:" and 64 hexadecimal digits
	Text   string `json:"text,omitempty"` // the file itself, so that the run can be had again without it; empty in older runs
}

// Same reports whether both pin the same text.
func (d Document) Same(e Document) bool { return d.Name == e.Name && d.Digest == e.Digest }

func (d Document) String() string { return d.Name + " " + d.Digest }

// Worker is one of several processes that had part of a run, with the machine it ran on.
type Worker struct {
	Name       string `json:"name"`
	Kernel     string `json:"kernel"`
	CPU        CPU    `json:"cpu"`
	Trials     int    `json:"trials"`               // records that it gave, harness errors too
	Incomplete bool   `json:"incomplete,omitempty"` // of a merged run: its part had not ended
}

// Versions says which code ran.
type Versions struct {
	Commit  string            `json:"commit"`
	Dirty   bool              `json:"dirty,omitempty"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"`
}

// CPU describes the machine's processors.
type CPU struct {
	Model string `json:"model"`
	Cores int    `json:"cores"`
}
