package stack

import (
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// observe collects what the trial showed.
func (x *externalTrial) observe() (o Observation, err error) {
	end := time.Now()
	x.taps.Flush()
	if n := x.taps.Lost(); n > 0 {
		return o, fmt.Errorf("watch the hosts' packets: %d were not read in time, or could not be", n)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.flows
	o = Observation{
		FirstPacket: x.since(FirstPacket), FirstFrame: x.since(FirstFrame), Connect: x.since(Connected),
		PathChanges: int(x.tally.last["path_changes"]), Media: x.tally.media(),
		Bytes: map[string]int64{
			"camera_up": f.sent[roleCamera], "viewer_up": f.sent[roleViewer], "rendezvous_up": f.sent[roleRendezvous],
			"relay": f.relayedBytes(),
		},
		Probes: map[string]float64{"packets": float64(f.probes.packets), "bytes": float64(f.probes.bytes)},
	}
	if o.Connect == 0 {
		o.Connect = x.since(markSuccess)
	}
	if x.trial.Media == 0 {
		o.Media = nil
	}
	if n := int(x.tally.last["first_frame_bytes"]); o.FirstFrame > 0 && n > 0 {
		o.FirstFrameWire = n + (n+externalPayload-1)/externalPayload*x.headers()
	}
	o.Outcome, o.Cause = x.outcome(end)
	if o.Outcome == record.Failed {
		o.Connect, o.FirstPacket, o.FirstFrame, o.FirstFrameWire = x.since(Connected), 0, 0, 0
	}
	return o, nil
}

// externalPayload is what a packet of a first frame is taken to carry. What the system's own headers need is not known, so
// that FirstFrameWire is the least that the frame needs.
const externalPayload = 1200

// headers are the bytes of IP and UDP on the viewer's packets.
func (x *externalTrial) headers() int {
	if addrs := rendezvousFrom(x.lab.Topology(), hostViewer); len(addrs) > 0 && addrs[0].Is6() {
		return ipv6UDP
	}
	return ipUDP
}

// since is how long after the request a mark was; 0: it was not.
func (x *externalTrial) since(m Moment) time.Duration {
	return after(x.marks[Requested], x.marks[m])
}

// outcome judges the path by the packets, and says in a sentence why it is not direct.
func (x *externalTrial) outcome(end time.Time) (record.Outcome, string) {
	success, ok := x.marks[markSuccess]
	if !ok {
		if cause := x.hopeless(); cause != "" {
			return record.Failed, cause
		}
		return record.Failed, "it did not succeed within the trial's time: " + x.attempts()
	}
	switch x.flows.judge(success, end) {
	case pathDirect:
		return record.Direct, ""
	case pathRelayed:
		return record.Relayed, x.attempts()
	}
	return record.Failed, "it says that it succeeded, but its hosts exchanged no packets, directly or through the rendezvous"
}

// attempts says what became of direct packets.
func (x *externalTrial) attempts() string {
	f := x.flows
	cameras, viewers := f.count[roleViewer], f.count[roleCamera]
	switch {
	case !f.works.IsZero():
		return "packets passed directly both ways, but the two talked through the rendezvous in the end"
	case f.probes.packets == 0:
		return "neither of the two sent the other anything directly"
	case cameras > 0:
		return "direct packets came from the camera to the viewer, but none the other way"
	case viewers > 0:
		return "direct packets came from the viewer to the camera, but none the other way"
	}
	return fmt.Sprintf("none of %d packets that the two sent each other directly arrived", f.probes.packets)
}
