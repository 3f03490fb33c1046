package work

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// jobSchema names the form of a job and of the messages about it.
const jobSchema = "punchlab/job/1"

// job is what the coordinator tells workers of a run.
type job struct {
	Schema   string          `json:"schema"`
	Run      string          `json:"run"`
	Epoch    string          `json:"epoch"` // of the run's streams: made anew, they have other names, so that nothing old is taken for new
	Manifest record.Manifest `json:"manifest"`
	Build    string          `json:"build,omitempty"` // digest of the coordinator's program, where its commit does not say what it is

	UnitTrials int   `json:"unit_trials"`
	AckWaitNS  int64 `json:"ack_wait_ns"`
	MaxDeliver int   `json:"max_deliver"`
}

// RunID names a run on a server: the same for as long as its folder is, for whoever begins to coordinate it.
func RunID(m record.Manifest) string {
	set := m.Set
	if len(set) == 0 {
		set = nil
	}
	b, err := json.Marshal([]any{m.Scenario.Digest, m.Topology.Digest, m.Seed, m.Engine, m.TrialsPerCell, set, m.Shard, m.Start.UnixNano()})
	if err != nil {
		panic("work: a manifest is plain data and always encodes: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Names of streams and subjects. A run has two streams:
//
//	punchlab-RUN-EPOCH-units    punchlab.RUN.EPOCH.unit.CELL.NUMBER        a unit that nobody has finished
//	punchlab-RUN-EPOCH-records  punchlab.RUN.EPOCH.log.record.CELL.TRIAL   the attempts of a trial, in their order
//	                            punchlab.RUN.EPOCH.log.alone.CELL.NUMBER   how many workers have begun to run a unit alone, or that it was given up
//	                            punchlab.RUN.EPOCH.log.worker.NAME         who took the job, and where it runs
//	                            punchlab.RUN.EPOCH.log.refused.NAME        who did not, and why
const (
	streamPrefix = "punchlab-"
	jobsStream   = "punchlab-jobs"
	jobsSubject  = "punchlab.jobs."
	consumerName = "workers"
	newsSubject  = "punchlab.news" // no stream has it: a word to workers that a job has come or gone, so that they need not wait to see it
)

func (j *job) stream(kind string) string { return streamPrefix + j.Run + "-" + j.Epoch + "-" + kind }
func (j *job) subject(rest ...any) string {
	return "punchlab." + j.Run + "." + j.Epoch + "." + dots(rest)
}
func (j *job) record(cell, n int) string       { return j.subject("log.record", cell, n) }
func (j *job) messageID(r record.Trial) string { return dots([]any{j.Run, r.Cell, r.Trial, r.Attempt}) }

func dots(parts []any) string {
	s := make([]string, len(parts))
	for i, p := range parts {
		s[i] = fmt.Sprint(p)
	}
	return strings.Join(s, ".")
}

// unit is a stretch of a cell's trials, of which some may be done.
type unit struct {
	Cell   int `json:"cell"`
	Number int `json:"number"` // within the cell: its trials are those from Number × the job's UnitTrials on
	// Trials are those that are open; beside each, how often an earlier part of the run has tried it.
	Trials   []int `json:"trials"`
	Attempts []int `json:"attempts,omitempty"` // nil: never
	// Again says that records of it may be in the log already, though nobody has been given it.
	Again bool `json:"again,omitempty"`
}

func (u unit) attempts(i int) int {
	if i < len(u.Attempts) {
		return u.Attempts[i]
	}
	return 0
}

// runner is the unit as the runner has it: the whole stretch, of which the plan's Done leaves out what is done.
func (u unit) runner() runner.Unit {
	return runner.Unit{Cell: u.Cell, From: u.Trials[0], To: u.Trials[len(u.Trials)-1] + 1}
}

// decodeUnit reads a unit and says what is wrong with it.
func decodeUnit(b []byte) (u unit, err error) {
	if err = json.Unmarshal(b, &u); err == nil && (u.Cell < 0 || len(u.Trials) == 0) {
		err = fmt.Errorf("no trials of cell %d", u.Cell)
	}
	for i, n := range u.Trials {
		if err == nil && (n < 0 || i > 0 && n <= u.Trials[i-1]) {
			err = fmt.Errorf("trials %v are not in order", u.Trials)
		}
	}
	if err != nil {
		return u, fmt.Errorf("read unit: %w", err)
	}
	return u, nil
}

// Headers of a record's message.
const (
	workerHeader   = "Punchlab-Worker"
	encodingHeader = "Content-Encoding"
)

// compressOver is the size in bytes from which a record is sent compressed: the latencies of many frames.
const compressOver = 32 << 10

// encodeRecord is a record as a message.
func encodeRecord(subject, worker string, t record.Trial) (*nats.Msg, error) {
	t.Schema = record.TrialSchema
	b, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode trial %d of cell %d: %w", t.Trial, t.Cell, err)
	}
	m := nats.NewMsg(subject)
	m.Header.Set(workerHeader, worker)
	m.Data = b
	if len(b) <= compressOver {
		return m, nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(b) // a buffer takes everything
	_ = w.Close()
	m.Data = packed.Bytes()
	m.Header.Set(encodingHeader, "gzip")
	return m, nil
}

// maxRecord bounds what a compressed record may become, in bytes: record.Read takes no more.
const maxRecord = 64 << 20

// decodeRecord reads a record and checks it.
func decodeRecord(h nats.Header, data []byte) (t record.Trial, err error) {
	if h.Get(encodingHeader) == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = io.ReadAll(io.LimitReader(r, maxRecord))
		}
		if err != nil {
			return t, fmt.Errorf("unpack record: %w", err)
		}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, fmt.Errorf("read record: %w: it is of another version of punchlab", err)
	}
	return t, t.Validate()
}

// nameable is a name as part of a subject.
func nameable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), 64)]
}
