package contain

import (
	"context"
	"sync"
	"time"
)

// Run runs a program on its host and waits until it and all that it started have ended. It ends when the program does, when ctx is
// done, or when a limit is reached; with ctx and Spec.Wall it is asked first, by SIGTERM. Events of the lab may kill it, start
// it again, with its folder as it is then, and suspend it. The error is the lab's or the Spec's, never the program's.
func Run(ctx context.Context, s Spec) (*Report, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	p := &program{spec: &s, output: newOutput(s.Limits), news: make(chan struct{}, 1), flooded: make(chan struct{})}
	p.output.full = func() { close(p.flooded) }
	forget := s.Host.Run(p)
	defer forget()
	if err := p.first(); err != nil {
		return nil, err
	}
	r, err := p.follow(ctx)
	if err != nil {
		return nil, err
	}
	r.Output = p.output.kept()
	return r, nil
}

// program is a lab.Program and a lab.Sleeper.
type program struct {
	spec   *Spec
	output *output
	news   chan struct{} // lives has one more

	flooded chan struct{} // closed: it has printed more than it may

	mu     sync.Mutex
	lives  []*life // that have begun, and were not looked at
	life   *life   // the newest
	dead   bool    // by an event
	asleep bool
	ended  bool // for good
}

// first starts the first life, unless an event forbids it for now.
func (p *program) first() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return nil
	}
	return p.begin()
}

// begin begins a life. The caller holds mu.
func (p *program) begin() error {
	l, err := begin(p.spec, p.output)
	if err != nil {
		return err
	}
	if p.asleep {
		l.tell(orderSleep)
	}
	p.life, p.lives = l, append(p.lives, l)
	select {
	case p.news <- struct{}{}:
	default:
	}
	return nil
}

// next takes a life that was not looked at; nil: there is none.
func (p *program) next() (l *life, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lives) > 0 {
		l, p.lives = p.lives[0], p.lives[1:]
	}
	return l, p.ended
}

// Kill is an event's: a power cut.
func (p *program) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead, p.asleep = true, false
	if p.life != nil {
		p.life.end(Cut)
	}
}

// Start is an event's.
func (p *program) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead || p.ended {
		return nil
	}
	p.dead = false
	if p.life == nil {
		return p.begin()
	}
	<-p.life.over
	if p.life.err != nil || p.life.ending != Cut {
		return nil // it had ended before: Run says how
	}
	if p.spec.Again != nil {
		p.spec.Again()
	}
	return p.begin()
}

// Sleep is an event's.
func (p *program) Sleep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = true
	if p.life != nil {
		p.life.sleep()
	}
}

// Wake is an event's.
func (p *program) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = false
	if p.life != nil {
		p.life.tell(orderWake)
	}
}

// end ends the newest life, for a reason, and forbids further ones.
func (p *program) end(why Ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.life != nil {
		p.life.end(why)
	}
}

// follow waits for the end of the last life.
func (p *program) follow(ctx context.Context) (*Report, error) {
	wall := time.NewTimer(p.spec.Wall + patience) // and Wall from when it runs
	defer wall.Stop()
	var timed bool
	r := &Report{Ending: Cut, Code: -1}
	done, flooded := ctx.Done(), p.flooded
	for l := (*life)(nil); ; {
		if l == nil {
			var ended bool
			if l, ended = p.next(); l == nil && ended {
				return r, nil
			}
		}
		var over, ready chan struct{}
		if l != nil {
			over = l.over
			if !timed {
				ready = l.ready
			}
		}
		select {
		case <-over:
			if l.err != nil {
				return nil, l.err
			}
			if r.add(l); r.Ending != Cut {
				return r, nil
			}
			l = nil
		case <-ready:
			timed = true
			wall.Reset(p.spec.Wall)
		case <-p.news:
		case <-done:
			done = nil
			p.end(Stopped)
		case <-wall.C:
			p.end(TimedOut)
		case <-flooded:
			flooded = nil
			p.end(TooMuchLog)
		}
	}
}
