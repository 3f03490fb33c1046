package scenarios

import (
	"errors"
	"fmt"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/topologies/document"
)

// decodeThresholds reads what a run is held to, with the axes that have been read before it: a threshold may name no others.
func (s *Scenario) decodeThresholds(list document.Node) {
	var axes []record.Axis
	for _, a := range s.Axes {
		axes = append(axes, record.Axis{Key: a.Key, Values: a.Values})
	}
	for _, n := range list.Items() {
		text, abort := n, false
		if len(n.Keys()) > 0 {
			text, abort = n.Get("expect"), n.Get("abort").Bool(false)
		}
		if text.String() == "" {
			continue // its shape is wrong: the schema says so
		}
		t, err := gate.ParseThresholdFor(text.String(), axes)
		var fault *gate.ThresholdError
		if errors.As(err, &fault) {
			text.ReportAt(fault.Column, &lab.Problem{Msg: fault.Msg, Suggestion: fault.Suggestion})
			continue
		}
		t.Abort = t.Abort || abort
		s.addThreshold(n, t)
	}
}

// addThreshold refuses what is asked for already.
func (s *Scenario) addThreshold(n document.Node, t gate.Threshold) {
	for i, before := range s.Thresholds {
		if before.Expect() == t.Expect() {
			n.Report(&lab.Problem{Msg: fmt.Sprintf("the same again: threshold %d asks for it", i)})
			return
		}
	}
	s.Thresholds = append(s.Thresholds, t)
}
