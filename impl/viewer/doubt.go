package viewer

import (
	"fmt"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// A path in use is doubted when no new media has come by it for a few frames, and the camera has not answered by it either: it
// may have nothing to send. It is asked (by consent) before the silence is over, so that this costs no time where the path is dead.
//
//	        silence: consent by it, ping and again to R, use by the relay (the camera then carries both)
//	in use ───────────────────────────────────────────────────────────────────────► doubted
//	  ▲                anything authentic by it: use by it again                      │  │ another direct path is heard:
//	  └───────────────────────────────────────────────────────────────────────────────┘  │ use by that
//	relay ◄── new media by the relay, and nothing by the path for verdict ────────────────┴──────────► that path
const (
	// verdict is how long a doubted path has to show that it lives, once the relay delivers.
	verdict = 400 * time.Millisecond
	// longestAsk is how long an answer of the camera is waited for at most before the path is doubted.
	longestAsk = 400 * time.Millisecond
	// maxIdle is how often the gap between questions doubles, up to maxSilence, while the camera answers them and sends nothing new.
	maxIdle = 3
	// doubtGap is the greatest gap between repetitions of Use, and of pings to the rendezvous, while the path is doubted.
	doubtGap = 250 * time.Millisecond
	// firstRetry is when a direct path that was lost is looked for again after a search that found none, doubling up to lastRetry;
	// soonRetry the same of one that there never was, where both NATs would allow it: what was sent may have been lost.
	firstRetry = 5 * time.Second
	soonRetry  = time.Second
	lastRetry  = time.Minute
	// againTries is how often again is sent at most for one reason, after the rendezvous' RTO each, doubling.
	againTries = 5
	// asleep is how much later than it wanted a viewer has to be called to take it that its host has slept.
	asleep = 2 * time.Second
	// consentLife is how long a camera serves a viewer that is silent (RFC 7675 §5.1).
	consentLife = 30 * time.Second
)

// doubting says whether the path in use is doubted.
func (a *attempt) doubting() bool { return !a.doubted.IsZero() }

// quietSince is when the path in use last showed that it delivers, or was chosen.
func (a *attempt) quietSince() time.Time {
	since := a.onPath
	for _, t := range [...]time.Time{a.assuredAt, a.named} {
		if t.After(since) {
			since = t
		}
	}
	return since
}

// silentAt is when the path in use has been silent for long enough to be doubted.
func (a *attempt) silentAt() time.Time {
	usual := a.rhythm.silence()
	return a.quietSince().Add(min(usual<<a.idle, max(usual, maxSilence)))
}

// patience is how long the answer to a question by the path in use takes.
func (a *attempt) patience() time.Duration {
	if a.rttOf == a.path && a.c.RTT > 0 {
		return min(max(a.c.RTT*5/4, a.c.RTT+minRTO/2), longestAsk)
	}
	return min(a.rto(), longestAsk)
}

// question is when the camera is asked whether the path in use lives: early enough for an answer before silentAt, but not before half of
// the silence is over.
func (a *attempt) question() time.Time {
	silence := a.silentAt().Sub(a.quietSince())
	return a.silentAt().Add(-min(a.patience(), silence/2))
}

// asked says whether the camera was asked since the path in use last delivered.
func (a *attempt) asked() bool {
	return a.asking.sequence != 0 && a.asking.path == a.path && a.asking.at.After(a.quietSince())
}

// answered notes that the camera has answered by the path in use: it lives, and there is nothing new, unless that comes elsewhere.
func (a *attempt) answered(now time.Time) {
	if a.doubting() || !a.twoWay || a.elsewhere.After(a.onPath) {
		return
	}
	a.idle = min(a.idle+1, maxIdle)
	a.assuredAt = now
}

// doubt asks for help: the reason may be this side's, the camera's, or the way between.
func (a *attempt) doubt(now time.Time) {
	if a.doubting() {
		return
	}
	a.doubted, a.relayed = now, false
	a.useGap = a.rto()
	a.v.link.Insist(now) // the relay is to be there when it is wanted, and it may be this side that has moved
	a.askAgain(now)
	a.sendUse(now)
}

// assured ends the doubt: the path in use lives. Where the first question was answered, and nothing is missing, it always did.
func (a *attempt) assured(now time.Time) {
	highest, _ := a.receiver.HighestSeq()
	if wanted, _ := a.receiver.Wanted(); now.Sub(a.doubted) <= a.rto() && wanted > highest {
		a.rhythm.falseAlarm(now)
	}
	a.doubted, a.assuredAt = time.Time{}, now
	a.quietAgain()
}

// verdictAt is when a doubted path is left for the relay; zero: not yet.
func (a *attempt) verdictAt() time.Time {
	if !a.doubting() || !a.relayed {
		return time.Time{}
	}
	return a.doubted.Add(max(verdict, 2*a.rto()))
}

// toRelay leaves a direct path that does not serve.
func (a *attempt) toRelay(now time.Time) {
	if a.twoWay {
		a.lostDirect = true
		a.c.NotDirect = fmt.Sprintf("the direct path to %v went silent: nothing for %.1f s",
			a.path.Addr, now.Sub(a.alive).Seconds())
	} else {
		a.oneWay = append(a.oneWay, a.path)
	}
	a.name(now, punch.ViaRelay, wire.Token{})
}

// searchAgain has a direct path looked for once more, after a while: one that was lost may come back, and of one that ought to work all
// that was sent may have been lost. One that the camera does not hear was asked often enough to tell that from loss.
func (a *attempt) searchAgain(now time.Time) {
	first := firstRetry
	switch {
	case a.lostDirect:
	case a.channel == 0 || len(a.oneWay) > 0 || a.agent == nil || !a.agent.Promising():
		return
	default:
		first = soonRetry
	}
	a.retryGap = min(max(2*a.retryGap, first), lastRetry)
	a.retryAt = now.Add(a.retryGap)
}

// askAgain asks the rendezvous where the camera is now, and for the relay, until it answers.
func (a *attempt) askAgain(now time.Time) {
	a.askGap, a.asks = a.v.link.RTO(), 0
	a.sendAgain(now)
}

func (a *attempt) sendAgain(now time.Time) {
	a.askDue = time.Time{}
	if a.peerAt.IsZero() || a.asks >= againTries { // without a rendezvous, or not introduced yet
		return
	}
	a.v.link.Send(core.Signal, &wire.Again{ID: a.id, Relay: a.policy.Relay})
	a.asks++
	a.askDue = now.Add(a.askGap)
	a.askGap *= 2
}

func (a *attempt) quietAgain() { a.askDue = time.Time{} }

// located is told where the camera is now: after again, and when it has moved.
func (a *attempt) located(now time.Time, m *wire.Located) {
	a.v.link.Send(core.Signal, &wire.LocatedAck{ID: m.ID, Sequence: m.Sequence})
	if m.Sequence <= a.locatedSeq {
		return
	}
	a.locatedSeq = m.Sequence
	a.quietAgain()
	if a.policy.Relay && m.Channel != 0 {
		a.channel = m.Channel
	}
	moved := m.Endpoint.AddrPort != a.endpoint
	a.endpoint, a.candidates = m.Endpoint.AddrPort, m.Candidates
	if !a.policy.Direct || a.sess == nil {
		return
	}
	if moved && a.path.Route == punch.Direct && a.twoWay {
		a.doubt(now)
	}
	if a.path.Route == punch.Direct && a.twoWay && !a.doubting() {
		return // the camera asked, and this side is content
	}
	a.gaveUp, a.oneWay, a.retryAt = false, nil, time.Time{}
	a.restart(now, m.Class, m.Candidates)
	if a.doubting() {
		a.sendUse(now) // the relay is there now
	}
}

// classified goes on with what has been found out of the NATs before this viewer: where that is news to the search, both
// sides begin it again. The rendezvous tells the camera.
func (a *attempt) classified(now time.Time) {
	content := a.path.Route == punch.Direct && a.twoWay && !a.doubting()
	if a.agent == nil || a.sess == nil || content || a.v.dev.Class() == a.mine {
		return
	}
	a.askAgain(now)
}

// restart looks for a direct path anew.
func (a *attempt) restart(now time.Time, class wire.Class, candidates []wire.Endpoint) {
	cfg := a.agentConfig(class)
	if a.agent == nil {
		a.agent = punch.NewAgent(cfg, now)
	} else {
		a.agent.Restart(now, cfg)
	}
	a.addCandidates(now, candidates)
	a.agent.Due(now, a.probe)
}

// reachable is called when the rendezvous asks whether this viewer receives where it appears from now: it has moved.
// What was sent from there before was dropped.
func (a *attempt) reachable(now time.Time) {
	if a.sess == nil || !a.doubting() {
		return
	}
	a.askAgain(now)
	a.sendUse(now)
}

// wake goes on after the host's sleep, or in another network. Who has slept for longer than the camera keeps a silent
// viewer connects anew.
func (a *attempt) wake(now time.Time, slept time.Duration) {
	switch {
	case slept >= consentLife:
		a.anew(now)
	case a.sess != nil:
		a.heard, a.consent = now, now
		a.doubted = time.Time{}
		a.doubt(now)
	}
}

// anew begins the connection again, as if it had just been asked for: the camera has forgotten it.
func (a *attempt) anew(now time.Time) {
	next, err := newAttempt(now, a.v, a.request, a.policy)
	if err != nil {
		a.fail(now, wire.CodeInternal, fmt.Sprintf("connect again after the host's sleep: %v", err))
		return
	}
	at := a.endpoint
	a.finish()
	next.c = a.c
	a.v.watches = append(a.v.watches, next)
	a.v.box.Emit(Reconnecting{Camera: a.uid, At: now})
	if a.knocking {
		next.knock(now, at)
	} else {
		next.sendConnect(now)
		next.lookNear(now)
	}
}
