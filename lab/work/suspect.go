package work

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// alone is what the log has of a unit that is run alone, in its last message about it: how many workers have begun that, and
// have not been told to stop in the midst of it.
type alone struct {
	Worker   string `json:"worker"`   // who has begun last, or given it up
	Delivery uint64 `json:"delivery"` // at which it did; 0: it was told to stop
	Begun    int    `json:"begun"`
	GivenUp  bool   `json:"given_up,omitempty"`
	Unit     unit   `json:"unit"`
}

// maxAlone is how many workers may die on a unit that they run alone: the first that died with it had others besides.
func (j *job) maxAlone() int { return max(1, j.MaxDeliver-1) }

// suspicion returns the unit in hand that is to be run alone, nil if there is none, and how many others there are.
func (d *desk) suspicion() (suspect *holding, others int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.suspect == nil {
		return nil, len(d.held)
	}
	return d.suspect, len(d.held) - 1
}

// runAlone has the runner run the suspect, now that nothing else is in hand; or gives it up, if enough workers have died of that.
func (d *desk) runAlone(ctx context.Context, h *holding) {
	if !d.begin(ctx, h) {
		return // ctx has ended
	}
	d.mu.Lock()
	h.waits = false
	over := h.alone.GivenUp
	if over {
		d.release(h)
	}
	d.mu.Unlock()
	if !over {
		d.settle(ctx, h.unit)
	}
}

// begin tells the log that the suspect is run alone, or given up; false: ctx has ended before.
func (d *desk) begin(ctx context.Context, h *holding) bool {
	about, err := h.msg.Metadata()
	for err == nil && ctx.Err() == nil {
		was, sequence, known := d.lastAlone(ctx, h.unit)
		switch {
		case !known:
			continue
		case was.Worker == d.Name && was.Delivery == about.NumDelivered: // its confirmation was lost
			h.alone, h.said = was, sequence
			return true
		}
		now := alone{Worker: d.Name, Delivery: about.NumDelivered, Begun: was.Begun + 1, Unit: h.unit}
		if was.Begun >= d.maxAlone() {
			now.Begun, now.GivenUp = was.Begun, true
		}
		// Not cut off by a word to stop: what the server has taken unknown to this worker would count as its death.
		if ack, err := d.say(context.WithoutCancel(ctx), now, sequence); err == nil {
			h.alone, h.said = now, ack
			return true
		} else if !wrongLast(err) {
			d.log.Debug("cannot say which unit is run alone", "error", err)
			pause(ctx, retryWait)
		}
	}
	return false
}

// withdraw takes back that a unit is run alone: this worker was told to stop, and did not die of it. Where the server is away it
// counts as if it had.
func (d *desk) withdraw(h *holding) {
	if h == nil || h.said == 0 {
		return
	}
	back := h.alone
	back.Begun, back.Delivery = back.Begun-1, 0
	if _, err := d.say(context.Background(), back, h.said); err != nil {
		d.log.Debug("cannot take back that a unit is run alone", "error", err)
	}
}

// lastAlone reads what the log has last of a unit that was run alone: nothing, if it never was; false: ctx has ended before.
func (d *desk) lastAlone(ctx context.Context, u unit) (a alone, sequence uint64, known bool) {
	m := d.last(ctx, d.subject("log.alone", u.Cell, u.Number))
	if m == nil {
		return a, 0, ctx.Err() == nil
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		d.log.Error("cannot read which unit was run alone", "error", err)
	}
	return a, m.Sequence, true
}

// say puts a message about a unit that is run alone into the log, as the successor of the one before it.
func (d *desk) say(ctx context.Context, a alone, after uint64) (sequence uint64, err error) {
	b, err := json.Marshal(a)
	if err != nil {
		panic("work: a unit is plain data and always encodes: " + err.Error())
	}
	m := nats.NewMsg(d.subject("log.alone", a.Unit.Cell, a.Unit.Number))
	m.Data = b
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := d.js.PublishMsg(ctx, m, jetstream.WithExpectStream(d.stream("records")), jetstream.WithExpectLastSequencePerSubject(after))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// takeAlone takes a message about a unit that is run alone: one that was given up has its open trials recorded as harness errors.
func (c *coordinator) takeAlone(data []byte) error {
	var a alone
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("read which unit was run alone: %w", err)
	}
	if !a.GivenUp {
		return nil
	}
	c.last = time.Now()
	return c.giveUp(a)
}
