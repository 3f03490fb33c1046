package topologies

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/topologies/document"
)

// maxTraces bounds the trace files of one document: an hour at 100 Mbit/s has some 200 MB.
const maxTraces = 256 << 20

// linkReader reads a document's own links, and each trace that they name once.
type linkReader struct {
	folder string // of the document; empty: it comes with the program, and no files are beside it
	traces map[string]*link.Trace
	left   int64 // bytes of traces that may still be read
}

func newLinkReader(folder string) *linkReader {
	r := &linkReader{folder: folder, traces: map[string]*link.Trace{}, left: maxTraces}
	for _, t := range link.Traces() {
		r.traces[t.Name] = t
	}
	return r
}

// links reads the mapping of that name. What is wrong with the figures is lab.Topology's to say.
func (r *linkReader) links(n document.Node) (own []link.Profile) {
	for _, name := range n.Keys() {
		own = append(own, r.profile(name, n.Get(name)))
	}
	return own
}

func (r *linkReader) profile(name string, n document.Node) link.Profile {
	p := link.Profile{}
	if base := n.Get("base"); base.Exists() {
		var ok bool
		if p, ok = link.Lookup(base.String()); !ok {
			base.Report(lab.Unknown("", "preset", base.String(), (&lab.Topology{}).LinkNames()))
		}
	} else {
		for _, key := range []string{"up", "down"} {
			if !n.Get(key).Exists() {
				n.Report(&lab.Problem{Path: key, Msg: "missing: give its figures, or {} if it does nothing to packets; or name a preset as the base"})
			}
		}
	}
	p.Name, p.Source = name, n.Get("source").String()
	r.direction(n.Get("up"), &p.Up)
	r.direction(n.Get("down"), &p.Down)
	return p
}

// direction changes what the document gives figures for.
func (r *linkReader) direction(n document.Node, i *link.Impairment) {
	for _, key := range n.Keys() {
		v := n.Get(key)
		if set := setters[key]; set != nil && v.Exists() {
			set(i, v)
		}
	}
	r.capacity(n, i)
	for _, rule := range []struct {
		key     string
		useless bool
		why     string
	}{
		{"queue", unlimited(n, i), "nothing waits without a rate or a trace: give one"},
		{"target", idle(n, i), "only CoDel has a target: add aqm: codel"},
		{"interval", idle(n, i), "only CoDel has an interval: add aqm: codel"},
		{"anywhere", i.Trace == nil && !n.Get("trace").Exists(), "only a trace is entered anywhere: name one"},
		{"reorder", i.ReorderBy == 0 && !n.Get("reorder-by").Exists(), "a packet is not reordered without reorder-by: say by how much it comes later"},
		{"reorder-by", i.Reorder == 0 && !n.Get("reorder").Exists(), "no packet is reordered without reorder: say how probable it is"},
	} {
		if v := n.Get(rule.key); v.Exists() && rule.useless {
			v.Report(&lab.Problem{Msg: rule.why})
		}
	}
}

// unlimited says whether nothing ever waits, unless it is for a rate or trace that can't be read.
func unlimited(n document.Node, i *link.Impairment) bool {
	rate := n.Get("rate")
	return i.Rate == 0 && i.Trace == nil && !n.Get("trace").Exists() && (!rate.Exists() || rate.String() == "unlimited")
}

// idle says whether CoDel's figures have no effect, unless the word for the queue management is misspelt.
func idle(n document.Node, i *link.Impairment) bool {
	aqm := n.Get("aqm")
	return i.AQM != link.CoDel && (!aqm.Exists() || aqm.String() == link.DropTail.String())
}

// setters read the figures that stand for themselves.
var setters = map[string]func(*link.Impairment, document.Node){
	"delay":         func(i *link.Impairment, n document.Node) { i.Delay = n.Duration() },
	"jitter":        func(i *link.Impairment, n document.Node) { i.Jitter = n.Duration() },
	"keep-order":    func(i *link.Impairment, n document.Node) { i.KeepOrder = n.Bool(false) },
	"queue":         func(i *link.Impairment, n document.Node) { i.QueueBytes = n.Bytes() },
	"target":        func(i *link.Impairment, n document.Node) { i.Target = n.Duration() },
	"interval":      func(i *link.Impairment, n document.Node) { i.Interval = n.Duration() },
	"loss":          func(i *link.Impairment, n document.Node) { i.Loss = n.Probability() },
	"reorder":       func(i *link.Impairment, n document.Node) { i.Reorder = n.Probability() },
	"reorder-by":    func(i *link.Impairment, n document.Node) { i.ReorderBy = n.Duration() },
	"duplicate":     func(i *link.Impairment, n document.Node) { i.Duplicate = n.Probability() },
	"corrupt":       func(i *link.Impairment, n document.Node) { i.Corrupt = n.Probability() },
	"mtu":           func(i *link.Impairment, n document.Node) { i.MTU = n.Int() },
	"mtu-blackhole": func(i *link.Impairment, n document.Node) { i.MTUBlackhole = n.Bool(false) },
	"aqm": func(i *link.Impairment, n document.Node) {
		i.AQM = link.DropTail
		if n.String() == link.CoDel.String() {
			i.AQM = link.CoDel
		}
	},
	"burst": func(i *link.Impairment, n document.Node) {
		i.Burst = &link.GilbertElliott{
			GoodToBad: n.Get("good-to-bad").Probability(), BadToGood: n.Get("bad-to-good").Probability(),
			LossGood: n.Get("loss-good").Probability(), LossBad: n.Get("loss-bad").Probability(),
		}
	},
}

// capacity reads the rate or the trace; either replaces whatever the base has.
func (r *linkReader) capacity(n document.Node, i *link.Impairment) {
	rate, trace := n.Get("rate"), n.Get("trace")
	if rate.Exists() {
		i.Rate, i.Trace = rate.Rate(), nil
		if i.Rate == 0 && !n.Get("queue").Exists() {
			i.QueueBytes = 0
		}
	}
	if name := trace.String(); name != "" {
		if !rate.Exists() {
			i.Rate = 0
		}
		t, err := r.trace(name)
		trace.Report(err)
		i.Trace = t
	}
	if t := i.Trace; t != nil {
		i.Trace = &link.Trace{Name: t.Name, Times: t.Times, Anywhere: n.Get("anywhere").Bool(t.Anywhere)}
	}
}

// trace is a shipped one, or that of a file beside the document.
func (r *linkReader) trace(name string) (*link.Trace, error) {
	if t := r.traces[name]; t != nil {
		return t, nil
	}
	t, err := r.read(name)
	if err != nil {
		return nil, err
	}
	r.traces[name] = t
	return t, nil
}

func (r *linkReader) read(name string) (*link.Trace, error) {
	file := name
	if !filepath.IsAbs(file) {
		file = filepath.Join(r.folder, file)
	}
	if r.folder == "" {
		return nil, noTrace(name, fs.ErrNotExist)
	}
	f, err := document.OpenFile(file)
	if err != nil {
		return nil, noTrace(name, document.Cause(err))
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: r.left + 1}
	t, err := link.ParseTrace(file, limited)
	r.left = max(limited.N-1, 0)
	if limited.N == 0 {
		return nil, noTrace(name, fmt.Errorf("the document's traces have more than %d MiB", maxTraces>>20))
	}
	if err != nil {
		return nil, &lab.Problem{Msg: err.Error()}
	}
	t.Name = name
	return t, nil
}

// noTrace is the problem of a trace that can't be read.
func noTrace(name string, cause error) *lab.Problem {
	p := &lab.Problem{Msg: fmt.Sprintf("read trace %q: %v", name, cause)}
	if errors.Is(cause, os.ErrNotExist) {
		var shipped []string
		for _, t := range link.Traces() {
			shipped = append(shipped, t.Name)
		}
		p = lab.Unknown("", "trace", name, shipped)
		p.Msg += ", and no such file is beside the document"
	}
	return p
}
