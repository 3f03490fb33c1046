package capture

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/record"
)

// TestTimelines plays trials and compares what is told of them. The commands:
//
//	play viewer=NAT camera=NAT [home=DELAY] [shed=DELAY] [rendezvous=DELAY] [loss=P] [seed=N] [frames=N] [kernel]
//	     [wait=DELAY]      of the camera, before it answers an introduction
//	     [reboot=TIME]     the camera's router, so long after the request
//	     [down=UPLINK]     its link, from the request on
//	     draws the timeline in 120 columns; with kernel as if routers were of the kernel
//	text WIDTH             the same timeline in other columns
//	explain OUTCOME [strategy=S] [cause=…] [gap=DURATION]
//	flows, media, leaks OUTCOME [strategy=S]
func TestTimelines(t *testing.T) {
	datadriven.Walk(t, "testdata/timeline", func(t *testing.T, path string) {
		var l *Timeline
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			tr := record.Trial{Params: map[string]string{}}
			for _, a := range d.CmdArgs {
				switch {
				case len(a.Vals) == 0:
					tr.Outcome = record.Outcome(a.Key)
				case a.Key == "cause":
					tr.Cause = a.Vals[0]
				case a.Key == "gap":
					gap, err := time.ParseDuration(a.Vals[0])
					check(t, err)
					s := gap.Seconds()
					tr.Media = &record.Media{GapS: &s}
				default:
					tr.Params[a.Key] = a.Vals[0]
				}
			}
			switch d.Cmd {
			case "play":
				l = playTimeline(t, d)
				return trimmed(l.Text(120))
			case "text":
				width, err := strconv.Atoi(d.CmdArgs[0].Key)
				check(t, err)
				return trimmed(l.Text(width))
			case "explain":
				return l.Explain(tr) + "\n"
			case "media":
				return fmt.Sprintf("%+v\n", l.Media())
			case "leaks":
				return strings.Join(append(l.Leaks(tr), ""), "\n")
			case "flows":
				var b strings.Builder
				for _, f := range l.Flows() {
					fmt.Fprintf(&b, "%s %v→%v: %d packets, %d bytes, %d came, dropped %v\n", f.From, f.Src, f.Dst, f.Packets, f.Bytes, f.Came, f.Drops)
				}
				return b.String()
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

// trimmed makes a golden without a blank first line, which datadriven would not like.
func trimmed(s string) string { return strings.TrimLeft(s, "\n") }

func playTimeline(t *testing.T, d *datadriven.TestData) *Timeline {
	c := playConfig{seed: 1, delays: map[string]time.Duration{"home": 10 * ms1, "shed": 10 * ms1, "rendezvous": 2 * ms1}}
	frames, kernel, reboot, down := 2, false, time.Duration(0), ""
	wait := time.Duration(0)
	for _, a := range d.CmdArgs {
		value := strings.Join(a.Vals, "")
		var err error
		switch a.Key {
		case "viewer":
			c.viewer = preset(t, value)
		case "camera":
			c.camera = preset(t, value)
		case "loss":
			c.link.Loss, err = strconv.ParseFloat(value, 64)
		case "seed":
			c.seed, err = strconv.ParseUint(value, 10, 64)
		case "frames":
			frames, err = strconv.Atoi(value)
		case "kernel":
			kernel = true
		case "reboot":
			reboot, err = time.ParseDuration(value)
		case "wait":
			wait, err = time.ParseDuration(value)
		case "down":
			down = value
		default:
			c.delays[a.Key], err = time.ParseDuration(value)
		}
		check(t, err)
	}
	p := newPlay(t, c)
	p.wait = wait
	v := View{Roles: roles(c)}
	if reboot > 0 {
		at := requested + reboot
		p.at(at, func() { p.routers["shed"].Table().Reset(99); p.routers["shed"].Changed(at) })
		v.Events = []Event{{At: at, What: "reboot shed"}}
	}
	if down != "" {
		p.at(requested, func() { p.routers[down].SetDown(true) })
		v.Events = []Event{{At: requested, What: "uplink-down " + down}}
	}
	p.trial(frames)
	tr := p.trace()
	if kernel {
		tr = asKernel(tr)
	}
	l, err := tr.Timeline(v)
	check(t, err)
	return l
}
